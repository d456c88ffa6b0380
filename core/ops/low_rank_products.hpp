// Products on the CPU of which one side is as small as an adapter's rank. They read large matrices
// for little arithmetic: a library's reordering of its operands costs more than it brings.
//
// fp32, row-major. Rows or columns of the large matrix are split over the threads; the bits do not
// depend on their number. A dropout is applied to what a product reads or makes, piece by piece: no
// copy of a large matrix is made.
#pragma once

#include "core/ops/product_options.hpp"

namespace lora_dist::ops::low_rank {

/// Whether y = x b is such a product, for x (N, K) and b (K, O).
bool suits(const at::Tensor& x_NK, int64_t num_columns);

/// y_NO (+)= scale * x_NK b_KO.
void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const at::Tensor& b_KO,
              const ProductOptions& options);

/// gradient_OI += dy_NO^T x_NI, O small and at most I; `of_x` is applied to x.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x);

}  // namespace lora_dist::ops::low_rank
