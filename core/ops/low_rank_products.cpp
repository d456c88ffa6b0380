#include "core/ops/low_rank_products.hpp"

#include <algorithm>

#include "core/ops/contiguous_rows.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops::low_rank {
namespace {

using kernels::Element;

constexpr int64_t kMostRank = 64;
// Rows of the large matrix that are read at once.
constexpr int64_t kRows = 96;
// Rows that are read at once where the result has the longer rows, which are then written in few
// streams, or where the input goes through a dropout.
constexpr int64_t kFewRows = 12;
// Rows that a sum over rows reads at once. It walks down their columns, so each row is another
// page: these are as many as the first level of the processor's cache of page addresses (TLB)
// holds.
constexpr int64_t kSummedRows = 32;
// Columns of the large side in a task of add_outer_product.
constexpr int64_t kTaskColumns = 96;

}  // namespace

bool suits(const at::Tensor& x_NK, int64_t num_columns) {
  return x_NK.is_cpu() && x_NK.scalar_type() == at::kFloat &&
         std::min(x_NK.size(1), num_columns) <= kMostRank;
}

void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const at::Tensor& b_KO,
              const ProductOptions& options) {
  const at::Tensor b = with_contiguous_rows(b_KO.to(at::kFloat));
  const int64_t depth = x_NK.size(1), columns = y_NO.size(1);
  const int64_t most_rows = depth < columns || options.of_input ? kFewRows : kRows;
  kernels::parallel_rows(x_NK.size(0), kRows, [&](int64_t begin, int64_t end) {
    const at::Tensor input = at::empty({options.of_input ? most_rows * depth : 0}, at::kFloat);
    const at::Tensor result = at::empty({options.of_result ? most_rows * columns : 0}, at::kFloat);
    for (int64_t row = begin; row < end; row += most_rows) {
      const int64_t rows = std::min(most_rows, end - row);
      float* y = y_NO.data_ptr<float>() + row * y_NO.stride(0);
      kernels::SmallProduct product{.m = rows,
                                    .n = columns,
                                    .k = depth,
                                    .a = x_NK.const_data_ptr<float>() + row * x_NK.stride(0),
                                    .a_row = x_NK.stride(0),
                                    .a_col = x_NK.stride(1),
                                    .b = b.const_data_ptr<float>(),
                                    .b_row = b.stride(0),
                                    .c = y,
                                    .c_row = y_NO.stride(0),
                                    .scale = static_cast<float>(options.scale),
                                    .accumulate = options.accumulate};
      if (options.of_input) {
        options.of_input->take({row, 0, rows, depth}, Element::fp32, product.a, product.a_row,
                               Element::fp32, input.data_ptr(), depth);
        product.a = input.const_data_ptr<float>();
        product.a_row = depth;
      }
      if (options.of_result) {
        product.c = result.data_ptr<float>();
        product.c_row = columns;
        product.accumulate = false;
      }
      kernels::table().small_product(product);
      if (options.of_result)
        options.of_result->take({row, 0, rows, columns}, Element::fp32, product.c, columns,
                                Element::fp32, y, y_NO.stride(0), 1, options.accumulate);
    }
  });
}

// Tasks are ranges of the large side's columns; each adds the rows in order.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x) {
  const at::Tensor x = with_contiguous_rows(x_NI);
  const int64_t num_tasks = (x.size(1) + kTaskColumns - 1) / kTaskColumns;
  kernels::parallel_rows(num_tasks, /*grain=*/1, [&](int64_t begin, int64_t end) {
    const at::Tensor input = at::empty({of_x ? kSummedRows * kTaskColumns : 0}, at::kFloat);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task * kTaskColumns,
                    columns = std::min(kTaskColumns, x.size(1) - column);
      for (int64_t row = 0; row < x.size(0); row += kSummedRows) {
        kernels::SmallProduct product{.m = dy_NO.size(1),
                                      .n = columns,
                                      .k = std::min(kSummedRows, x.size(0) - row),
                                      .a = dy_NO.const_data_ptr<float>() + row * dy_NO.stride(0),
                                      .a_row = dy_NO.stride(1),
                                      .a_col = dy_NO.stride(0),
                                      .b = x.const_data_ptr<float>() + row * x.stride(0) + column,
                                      .b_row = x.stride(0),
                                      .c = gradient_OI.data_ptr<float>() + column,
                                      .c_row = gradient_OI.stride(0),
                                      .accumulate = true};
        if (of_x) {
          of_x->take({row, column, product.k, columns}, Element::fp32, product.b, product.b_row,
                     Element::fp32, input.data_ptr(), kTaskColumns);
          product.b = input.const_data_ptr<float>();
          product.b_row = kTaskColumns;
        }
        kernels::table().small_product(product);
      }
    }
  });
}

}  // namespace lora_dist::ops::low_rank
