// Tensors as the operands of bf16 products (core/ops/kernels/bf16_products.hpp).
#pragma once

#include "core/base/error.hpp"
#include "core/ops/kernels/bf16_products.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist::ops {

inline uint16_t* bits_of(const at::Tensor& x) { return static_cast<uint16_t*>(x.data_ptr()); }

/// x (rows, columns), its rows contiguous.
inline kernels::RowsToRead rows_of(const at::Tensor& x) {
  return {.element = element_of(x),
          .data = x.const_data_ptr(),
          .row = x.stride(0),
          .rows = x.size(0),
          .columns = x.size(1)};
}
inline kernels::RowsToRead rows_of(const float* data, int64_t rows, int64_t columns, int64_t row) {
  return {.element = kernels::Element::fp32,
          .data = data,
          .row = row,
          .rows = rows,
          .columns = columns};
}

/// A packed right operand.
class PackedMatrix {
 public:
  /// Room for (rows, columns).
  PackedMatrix(int64_t rows, int64_t columns)
      : rows_(kernels::padded(rows)),
        words_(at::empty({kernels::padded(columns) * rows_ / 2}, at::kInt)) {}

  static PackedMatrix of(const at::Tensor& x) {
    const PackedMatrix packed(x.size(0), x.size(1));
    packed.set_columns(0, x);
    return packed;
  }
  /// Columns from `column`, a multiple of 32, become x (rows, any): bf16 or fp32 with contiguous
  /// rows, or bf16 with contiguous columns.
  void set_columns(int64_t column, const at::Tensor& x) const {
    uint32_t* first = words() + column / kernels::kPanelColumns * panel_words();
    if (x.stride(1) == 1 || x.size(1) == 1) {
      kernels::bf16_table().pack_rows(rows_of(x), first);
    } else {
      LD_CHECK(x.stride(0) == 1, "neither rows nor columns lie side by side");
      kernels::bf16_table().pack_columns(rows_of(x.t()), first);
    }
  }

  int64_t panel_words() const { return kernels::panel_words_of(rows_); }
  uint32_t* words() const { return reinterpret_cast<uint32_t*>(words_.data_ptr<int32_t>()); }
  /// From a row, or from a column, both multiples of 32.
  const uint32_t* from_row(int64_t row) const { return words() + row * kernels::kPanelColumns / 2; }
  const uint32_t* from_column(int64_t column) const {
    return words() + column / kernels::kPanelColumns * panel_words();
  }

 private:
  int64_t rows_;
  at::Tensor words_;
};

/// x (rows, columns) in bf16 as (columns, padded(rows)), zeros behind.
inline at::Tensor transposed_left_operand(const at::Tensor& x) {
  const at::Tensor y = at::empty({x.size(1), kernels::padded(x.size(0))}, x.options());
  kernels::bf16_table().transpose(rows_of(x), bits_of(y));
  return y;
}

}  // namespace lora_dist::ops
