// b of a product x b: a frozen weight or its transpose, of which pieces are taken in a number
// format.
#pragma once

#include "core/weights/stored_weight.hpp"

namespace lora_dist::ops {

class RightOperand {
 public:
  RightOperand(at::Tensor b_KO) : weight_(std::move(b_KO)) {}
  RightOperand(StoredWeight weight, bool is_transposed)
      : weight_(std::move(weight)), is_transposed_(is_transposed) {}

  /// Pieces begin, and end but for the last one, at multiples of these.
  int64_t row_unit() const { return is_transposed_ ? weight_.block_elements() : 1; }
  int64_t column_unit() const { return is_transposed_ ? 1 : weight_.block_elements(); }

  /// (rows, columns) from (row, column); a view where nothing converts.
  at::Tensor piece(int64_t row, int64_t rows, int64_t column, int64_t columns,
                   at::ScalarType dtype) const {
    if (is_transposed_) std::swap(row, column), std::swap(rows, columns);
    at::Tensor piece;
    if (weight_.is_plain()) {
      piece = weight_.as_tensor().narrow(0, row, rows).narrow(1, column, columns).to(dtype);
    } else {
      piece = at::empty({rows, columns}, weight_.stored().options().dtype(dtype));
      weight_.decode(row, column, piece);
    }
    return is_transposed_ ? piece.t() : piece;
  }

 private:
  StoredWeight weight_;
  bool is_transposed_ = false;
};

}  // namespace lora_dist::ops
