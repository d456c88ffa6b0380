#include "core/ops/bf16_low_rank_products.hpp"

#include <algorithm>

#include "core/ops/packed_matrix.hpp"

namespace lora_dist::ops::low_rank::bf16 {
namespace {

using kernels::bf16_table;
using kernels::Element;
using kernels::padded;

// Rows of x and y that are worked on at once.
constexpr int64_t kRows = 32;
// Of the sum over rows: what a task packs at once.
constexpr int64_t kSummedRows = 256, kTaskColumns = 128;

at::Tensor with_contiguous_rows(const at::Tensor& x) {
  return x.stride(1) == 1 ? x : x.contiguous();
}

/// Copies rows, with zeros behind the last column.
void copy_rows(const uint16_t* from, int64_t from_row, int64_t rows, int64_t columns, uint16_t* to,
               int64_t to_row) {
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(from + row * from_row, columns, to + row * to_row);
    std::fill(to + row * to_row + columns, to + (row + 1) * to_row, uint16_t{0});
  }
}

}  // namespace

void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const at::Tensor& b_KO,
              const Options& options) {
  const at::Tensor x = with_contiguous_rows(x_NK);
  const PackedMatrix b = PackedMatrix::of(b_KO.to(at::kBFloat16));
  const int64_t depth = x.size(1), columns = y_NO.size(1);
  const bool copies = options.of_input || depth != padded(depth);
  kernels::parallel_rows(x.size(0), kRows, [&](int64_t begin, int64_t end) {
    const at::Tensor input = at::zeros({copies ? kRows * padded(depth) : 0}, at::kBFloat16);
    const at::Tensor result = at::empty({kRows * padded(columns)}, at::kFloat);
    for (int64_t row = begin; row < end; row += kRows) {
      const int64_t rows = std::min(kRows, end - row);
      kernels::Bf16Product product{.m = rows,
                                   .n = padded(columns),
                                   .k = padded(depth),
                                   .a = bits_of(x) + row * x.stride(0),
                                   .a_row = x.stride(0),
                                   .b = b.words(),
                                   .b_panel_words = b.panel_words(),
                                   .c = result.data_ptr<float>(),
                                   .c_row = padded(columns)};
      if (options.of_input) {
        options.of_input->take({row, 0, rows, depth}, Element::bf16, product.a, product.a_row,
                               Element::bf16, input.data_ptr(), padded(depth));
      } else if (copies) {
        copy_rows(product.a, product.a_row, rows, depth, bits_of(input), padded(depth));
      }
      if (copies) {
        product.a = bits_of(input);
        product.a_row = padded(depth);
      }
      bf16_table().product(product);
      uint16_t* y = bits_of(y_NO) + row * y_NO.stride(0);
      if (options.of_result) {
        options.of_result->take({row, 0, rows, columns}, Element::fp32, product.c, product.c_row,
                                Element::bf16, y, y_NO.stride(0), options.scale,
                                options.accumulate);
      } else {
        bf16_table().round_rows(rows_of(product.c, rows, columns, product.c_row),
                                static_cast<float>(options.scale), options.accumulate, y,
                                y_NO.stride(0));
      }
    }
  });
}

// Tasks are ranges of x's columns; each adds the rows in order.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x) {
  const at::Tensor x = with_contiguous_rows(x_NI),
                   dy_ON = transposed_left_operand(with_contiguous_rows(dy_NO));
  const int64_t rank = dy_ON.size(0), num_tasks = (x.size(1) + kTaskColumns - 1) / kTaskColumns;
  kernels::parallel_rows(num_tasks, /*grain=*/1, [&](int64_t begin, int64_t end) {
    const at::Tensor input = at::empty({of_x ? kSummedRows * kTaskColumns : 0}, at::kBFloat16);
    const at::Tensor sums = at::empty({rank, kTaskColumns}, at::kFloat);
    const PackedMatrix packed(kSummedRows, kTaskColumns);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task * kTaskColumns,
                    columns = std::min(kTaskColumns, x.size(1) - column);
      for (int64_t row = 0; row < x.size(0); row += kSummedRows) {
        const int64_t rows = std::min(kSummedRows, x.size(0) - row);
        kernels::RowsToRead part{.element = Element::bf16,
                                 .data = bits_of(x) + row * x.stride(0) + column,
                                 .row = x.stride(0),
                                 .rows = rows,
                                 .columns = columns};
        if (of_x) {
          of_x->take({row, column, rows, columns}, Element::bf16, part.data, part.row,
                     Element::bf16, input.data_ptr(), kTaskColumns);
          part.data = input.const_data_ptr();
          part.row = kTaskColumns;
        }
        bf16_table().pack_rows(part, packed.words());
        bf16_table().product({.m = rank,
                              .n = padded(columns),
                              .k = padded(rows),
                              .a = bits_of(dy_ON) + row,
                              .a_row = dy_ON.stride(0),
                              .b = packed.words(),
                              .b_panel_words = PackedMatrix::panel_words_of(rows),
                              .c = sums.data_ptr<float>(),
                              .c_row = kTaskColumns,
                              .accumulate = row > 0});
      }
      gradient_OI.narrow(1, column, columns).add_(sums.narrow(1, 0, columns));
    }
  });
}

}  // namespace lora_dist::ops::low_rank::bf16
