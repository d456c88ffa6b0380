// low_rank_products in bf16, for processors that multiply it; called by those alone.
#pragma once

#include "core/ops/low_rank_products.hpp"

namespace lora_dist::ops::low_rank::bf16 {

/// As low_rank::multiply.
void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const at::Tensor& b_KO,
              const Options& options);

/// As low_rank::add_outer_product, for O of at most I.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x);

}  // namespace lora_dist::ops::low_rank::bf16
