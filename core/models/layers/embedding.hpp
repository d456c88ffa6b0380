// Rows of a frozen table by token id.
//
// Shapes: N tokens, V vocabulary, D width.
#pragma once

#include "core/models/layers/linear.hpp"

namespace lora_dist {

class Embedding {
 public:
  Embedding() = default;
  /// `scale` multiplies the rows (Gemma).
  Embedding(FrozenWeight weight_VD, double scale) : weight_VD_(weight_VD), scale_(scale) {}

  /// (N, D) in `dtype`.
  at::Tensor forward(const at::Tensor& tokens_N, at::ScalarType dtype) const;

 private:
  FrozenWeight weight_VD_;
  double scale_ = 1;
};

}  // namespace lora_dist
