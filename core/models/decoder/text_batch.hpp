// A micro-batch of texts, as a causal language model takes it.
//
// Shapes: B sequences, T tokens.
#pragma once

#include <cstdint>
#include <vector>

namespace lora_dist {

inline constexpr int64_t kIgnoredLabel = -100;  // PyTorch's ignore_index

/// Right-padded: position t of a row attends to positions <= t only, so padding never reaches a
/// real token and needs no mask.
struct TextBatch {
  at::Tensor tokens_BT;  // int64
  at::Tensor labels_BT;  // int64; [b][t] is the token that position t predicts (already shifted),
                         // or kIgnoredLabel
  /// Packed rows only, else undefined: int64; the place of each token in its own sample. A position
  /// sees its own sample alone.
  at::Tensor positions_BT = {};
  /// [row] tokens of its sample, padding not counted; empty: all T of each, or packed rows.
  std::vector<int64_t> lengths = {};
};

}  // namespace lora_dist
