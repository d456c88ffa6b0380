#include "core/ops/bf16_products.hpp"

#include <algorithm>
#include <numeric>

#include "core/ops/contiguous_rows.hpp"
#include "core/ops/packed_matrix.hpp"
#include "core/ops/pieces.hpp"

namespace lora_dist::ops::bf16 {
namespace {

using kernels::bf16_table;
using kernels::Element;
using kernels::padded;

// Rows of x and columns of b in a task: rows that stay in the second cache, and runs of the result
// that are written at once. Where there are no more rows, there are more tasks of fewer columns.
constexpr int64_t kTaskRows = 128, kTaskColumns = 256, kFewTaskColumns = 64;
// Rows of b that are packed at once, and thus columns of a task's x that are read.
constexpr int64_t kMostDepth = 4096;
// Rows that are packed at once in a sum over rows.
constexpr int64_t kSummedRows = 128;

/// b packed by all threads.
PackedMatrix packed(const at::Tensor& b) {
  const PackedMatrix packed(b.size(0), b.size(1));
  const int64_t num_panels = padded(b.size(1)) / kernels::kPanelColumns;
  kernels::parallel_rows(num_panels, /*grain=*/4, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * kernels::kPanelColumns;
    const int64_t columns = std::min(end * kernels::kPanelColumns, b.size(1)) - column;
    packed.set_columns(column, b.narrow(1, column, columns));
  });
  return packed;
}

/// A part of x as a left operand, in `room` where it cannot be read as it lies: behind the last
/// column there must be zeros up to a multiple of 32.
struct LeftOperand {
  const uint16_t* data;
  int64_t row;

  LeftOperand(const at::Tensor& x, const Dropout::Part& part, const Dropout* dropout,
              uint16_t* room)
      : data(bits_of(x) + part.row * x.stride(0) + part.column), row(x.stride(0)) {
    if (!needs_room(part.columns, dropout)) return;
    const int64_t room_row = padded(part.columns);
    for (int64_t i = 0; i < part.rows; ++i) {
      uint16_t* copy = room + i * room_row;
      if (!dropout) std::copy_n(data + i * row, part.columns, copy);
      std::fill(copy + part.columns, copy + room_row, uint16_t{0});
    }
    if (dropout) dropout->take(part, Element::bf16, data, row, Element::bf16, room, room_row);
    data = room;
    row = room_row;
  }

  static bool needs_room(int64_t depth, const Dropout* dropout) {
    return dropout || depth != padded(depth);
  }
};

/// Stores, or adds, a part of the result.
void store(const at::Tensor& y_NO, const Dropout::Part& part, const float* result,
           int64_t result_row, const ProductOptions& options) {
  uint16_t* y = bits_of(y_NO) + part.row * y_NO.stride(0) + part.column;
  if (options.of_result) {
    options.of_result->take(part, Element::fp32, result, result_row, Element::bf16, y,
                            y_NO.stride(0), options.scale, options.accumulate);
  } else {
    bf16_table().round_rows(rows_of(result, part.rows, part.columns, result_row),
                            static_cast<float>(options.scale), options.accumulate, y,
                            y_NO.stride(0));
  }
}

/// So many columns of y, from `first_column` on.
void multiply_columns(const at::Tensor& y_NO, const at::Tensor& x, const RightOperand& b_KO,
                      int64_t first_column, int64_t columns, const ProductOptions& options) {
  const int64_t rows = x.size(0), depth = x.size(1), wide = padded(columns);
  // A task packs what it alone reads.
  const bool is_alone = rows <= kTaskRows;
  const int64_t most_columns = is_alone ? kFewTaskColumns : kTaskColumns;
  const int64_t groups = (columns + most_columns - 1) / most_columns;
  const int64_t num_tasks = (rows + kTaskRows - 1) / kTaskRows * groups;
  const Pieces depths(depth, kMostDepth, std::lcm(int64_t{32}, b_KO.row_unit()));
  // Where b is packed in several pieces, sums wait here for the next one.
  const bool waits = depths.size < depth;
  const at::Tensor sums = at::empty({waits ? rows * wide : 0}, at::kFloat);
  depths.for_each([&](int64_t first, int64_t count) {
    const at::Tensor piece_QP = b_KO.piece(first, count, first_column, columns, at::kBFloat16);
    const PackedMatrix shared = is_alone ? PackedMatrix(0, 0) : packed(piece_QP);
    kernels::parallel_rows(num_tasks, /*grain=*/1, [&](int64_t begin, int64_t end) {
      const bool copies = LeftOperand::needs_room(count, options.of_input);
      const at::Tensor copy = at::empty({copies ? kTaskRows * padded(count) : 0}, at::kBFloat16);
      const at::Tensor tile = at::empty({waits ? 0 : kTaskRows * most_columns}, at::kFloat);
      const PackedMatrix own = is_alone ? PackedMatrix(count, most_columns) : shared;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t row = task / groups * kTaskRows, column = task % groups * most_columns;
        const Dropout::Part part{row, first_column + column, std::min(kTaskRows, rows - row),
                                 std::min(most_columns, columns - column)};
        const LeftOperand left(x, {row, first, part.rows, count}, options.of_input, bits_of(copy));
        float* result =
            waits ? sums.data_ptr<float>() + row * wide + column : tile.data_ptr<float>();
        const int64_t result_row = waits ? wide : most_columns;
        if (is_alone) own.set_columns(0, piece_QP.narrow(1, column, part.columns));
        bf16_table().product({.m = part.rows,
                              .n = padded(part.columns),
                              .k = padded(count),
                              .a = left.data,
                              .a_row = left.row,
                              .b = is_alone ? own.words() : shared.from_column(column),
                              .b_panel_words = own.panel_words(),
                              .c = result,
                              .c_row = result_row,
                              .accumulate = first > 0});
        if (first + count == depth) store(y_NO, part, result, result_row, options);
      }
    });
  });
}

}  // namespace

int64_t most_shared(int64_t rows) { return rows > kTaskRows ? kMostPacked : 0; }

void multiply(const at::Tensor& y_NO, const at::Tensor& x_NK, const RightOperand& b_KO,
              const ProductOptions& options) {
  const at::Tensor x = with_contiguous_rows(x_NK);
  const int64_t depth = std::min(padded(x.size(1)), kMostDepth);
  Pieces(y_NO.size(1), std::max(kMostPacked / depth, kTaskColumns),
         std::lcm(kTaskColumns, b_KO.column_unit()))
      .for_each([&](int64_t first, int64_t count) {
        multiply_columns(y_NO, x, b_KO, first, count, options);
      });
}

// Every thread has a range of x's columns and adds the rows in order: a column's sum does not
// depend on the range.
void add_outer_product(const at::Tensor& gradient_OI, const at::Tensor& dy_NO,
                       const at::Tensor& x_NI, const Dropout* of_x) {
  const at::Tensor x = with_contiguous_rows(x_NI);
  const at::Tensor dy_ON = transposed_left_operand(with_contiguous_rows(dy_NO));
  const int64_t height = dy_ON.size(0), rows = x.size(0);
  const int64_t num_panels = padded(x.size(1)) / kernels::kPanelColumns;
  kernels::parallel_rows(num_panels, /*grain=*/2, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * kernels::kPanelColumns;
    const int64_t columns = std::min(end * kernels::kPanelColumns, x.size(1)) - column;
    const int64_t wide = padded(columns);
    const at::Tensor copy = at::empty({of_x ? kSummedRows * wide : 0}, at::kBFloat16);
    const at::Tensor sums = at::empty({height, wide}, at::kFloat);
    const PackedMatrix packed(kSummedRows, columns);
    for (int64_t row = 0; row < rows; row += kSummedRows) {
      const Dropout::Part part{row, column, std::min(kSummedRows, rows - row), columns};
      kernels::RowsToRead read{.element = Element::bf16,
                               .data = bits_of(x) + row * x.stride(0) + column,
                               .row = x.stride(0),
                               .rows = part.rows,
                               .columns = columns};
      if (of_x) {
        of_x->take(part, Element::bf16, read.data, read.row, Element::bf16, copy.data_ptr(), wide);
        read.data = copy.const_data_ptr();
        read.row = wide;
      }
      bf16_table().pack_rows(read, packed.words());
      bf16_table().product({.m = height,
                            .n = wide,
                            .k = padded(part.rows),
                            .a = bits_of(dy_ON) + row,
                            .a_row = dy_ON.stride(0),
                            .b = packed.words(),
                            .b_panel_words = kernels::panel_words_of(part.rows),
                            .c = sums.data_ptr<float>(),
                            .c_row = wide,
                            .accumulate = row > 0});
    }
    gradient_OI.narrow(1, column, columns).add_(sums.narrow(1, 0, columns));
  });
}

}  // namespace lora_dist::ops::bf16
