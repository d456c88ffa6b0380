// The sequences of one micro-batch, as the layers of a decoder run over them.
//
// Shapes: B sequences of T tokens, N = B * T rows, S keys, K key/value heads, H head width.
#pragma once

#include <functional>
#include <vector>

#include "core/models/layers/linear.hpp"
#include "core/ops/attention.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist {

struct SequenceContext {
  int64_t batch = 1, tokens = 1;            // N = batch * tokens
  const ops::Rotation* rotation = nullptr;  // of T places in a row, or of all N rows
  PassContext pass;
  at::Tensor starts_BT = {};  // of packed rows; these three as in ops::AttentionOptions
  ops::SampleRows samples = {};
  bool deterministic = true;
  bool rotates_by_length = false;  // frequencies follow from the lengths of the samples
};

/// Keys and values of the tokens seen so far, for generation. B = 1.
struct KvCache {
  struct Layer {
    at::Tensor k_BSKH, v_BSKH;
  };
  std::vector<Layer> layers;
  int64_t length = 0;  // tokens seen
};

/// Makes the input of a layer again, when its backward pass needs it and not before.
using RebuildInput = std::function<at::Tensor()>;

}  // namespace lora_dist
