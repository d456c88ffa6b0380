#include "core/ops/low_rank_products.hpp"

#include <algorithm>

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops::low_rank {
namespace {

constexpr int64_t kMostRank = 64;
// Rows of the large matrix that are read at once.
constexpr int64_t kRows = 96;
// The same where whole rows of the result are written: in few streams.
constexpr int64_t kWrittenRows = 12;
// Where columns are read: no more pages than the first level of the TLB holds.
constexpr int64_t kSummedRows = 32;
// Columns of the large side in a task of add_outer_product.
constexpr int64_t kTaskColumns = 96;

at::Tensor with_contiguous_rows(const at::Tensor& x) {
  return x.stride(1) == 1 ? x : x.contiguous();
}

}  // namespace

bool suits(const at::Tensor& x_NK, int64_t num_columns) {
  return x_NK.is_cpu() && x_NK.scalar_type() == at::kFloat &&
         std::min(x_NK.size(1), num_columns) <= kMostRank;
}

void multiply(const at::Tensor& y_NO, bool accumulate, const at::Tensor& x_NK,
              const at::Tensor& b_KO, double scale) {
  const at::Tensor b = with_contiguous_rows(b_KO.to(at::kFloat));
  const int64_t rows = x_NK.size(1) < y_NO.size(1) ? kWrittenRows : kRows;
  kernels::parallel_rows(x_NK.size(0), kRows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += rows) {
      kernels::table().small_product({.m = std::min(rows, end - row),
                                      .n = y_NO.size(1),
                                      .k = x_NK.size(1),
                                      .a = x_NK.const_data_ptr<float>() + row * x_NK.stride(0),
                                      .a_row = x_NK.stride(0),
                                      .a_col = x_NK.stride(1),
                                      .b = b.const_data_ptr<float>(),
                                      .b_row = b.stride(0),
                                      .c = y_NO.data_ptr<float>() + row * y_NO.stride(0),
                                      .c_row = y_NO.stride(0),
                                      .scale = static_cast<float>(scale),
                                      .accumulate = accumulate});
    }
  });
}

// Tasks are ranges of the large side's columns; each adds the rows in order.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI) {
  if (dy_NO.size(1) > x_NI.size(1)) {
    const at::Tensor transposed_IO =
        at::zeros({gradient_OI.size(1), gradient_OI.size(0)}, gradient_OI.options());
    add_outer_product(transposed_IO, x_NI, dy_NO);
    gradient_OI.add_(transposed_IO.t());
    return;
  }
  const at::Tensor x = with_contiguous_rows(x_NI);
  kernels::parallel_rows(x.size(1), kTaskColumns, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < x.size(0); row += kSummedRows) {
      kernels::table().small_product({.m = dy_NO.size(1),
                                      .n = end - begin,
                                      .k = std::min(kSummedRows, x.size(0) - row),
                                      .a = dy_NO.const_data_ptr<float>() + row * dy_NO.stride(0),
                                      .a_row = dy_NO.stride(1),
                                      .a_col = dy_NO.stride(0),
                                      .b = x.const_data_ptr<float>() + row * x.stride(0) + begin,
                                      .b_row = x.stride(0),
                                      .c = gradient_OI.data_ptr<float>() + begin,
                                      .c_row = gradient_OI.stride(0),
                                      .accumulate = true});
    }
  });
}

}  // namespace lora_dist::ops::low_rank
