// Products on processors that multiply bf16, of any size, by our own tiles.
//
// LibTorch's library for bf16 splits sums by the number of threads, so that its bits depend on it;
// here an element is one sum in one order. Row-major; weights are packed piece by piece in a buffer
// that lasts as long as the product.
#pragma once

#include "core/ops/product_options.hpp"
#include "core/ops/right_operand.hpp"

namespace lora_dist::ops::bf16 {

/// Elements of a weight that are converted, where it is stored otherwise, and packed at once.
constexpr int64_t kMostPacked = int64_t{8} << 20;
/// How many of these packed elements lie in one buffer that all threads share, in a product whose x
/// has `rows` rows. It is 0 where x is so short that each task packs for itself what it alone
/// reads.
int64_t most_shared(int64_t rows);

/// y_NO (+)= scale * x_NK b_KO; x and y are bf16, b of any format. Rows of x and y are
/// contiguous, rows or columns of b.
void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const RightOperand& b_KO,
              const ProductOptions& options);

/// gradient_OI (fp32) += dy_NO^T x_NI, O at most I; `of_x` is applied to x.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x);

}  // namespace lora_dist::ops::bf16
