// A dropout that several products read through.
#pragma once

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops {

using kernels::DropoutStream;

/// Which elements of a matrix (N, I) are kept. On the CPU they are drawn here, a bit each; on other
/// devices each use draws them anew, in its own kernel.
class Dropout {
 public:
  /// For matrices of the shape and device of `like_NI`.
  Dropout(const at::Tensor& like_NI, double p, const DropoutStream& stream);

  /// x * keep / (1 - p).
  at::Tensor of(const at::Tensor& x_NI) const;

  /// y (+)= scale * x * keep / (1 - p) for a part of the matrix on the CPU that begins at (row,
  /// column), a multiple of 32.
  struct Part {
    int64_t row, column, rows, columns;
  };
  void take(const Part& part, kernels::Element x_element, const void* x, int64_t x_row,
            kernels::Element y_element, void* y, int64_t y_row, double scale = 1,
            bool accumulate = false) const;

 private:
  double p_;
  DropoutStream stream_;
  at::Tensor kept_NW_;  // int32 words of bits; on the CPU
};

}  // namespace lora_dist::ops
