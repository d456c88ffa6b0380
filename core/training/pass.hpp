// What one pass over a micro-batch runs with, and what it tells while it goes back.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "core/ops/ops.hpp"

namespace lora_dist {

/// An adapter at work in a pass: its id, as it was attached, and the rows of the micro-batch that
/// it sees, which are a batch of its own to it.
struct ActiveAdapter {
  static constexpr int64_t kLastRow = std::numeric_limits<int64_t>::max();
  int id = 0;
  double weight = 1;
  int64_t first_row = 0, end_row = kLastRow;
  bool operator==(const ActiveAdapter&) const = default;
};

/// What a layer or an adapter may ask about the micro-batch it runs in.
struct PassContext {
  bool training = false;  // dropout is drawn
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t slot = 0;
  /// int32 (2) on the model's device: where defined, the bits of step and slot are read from here
  /// (ops::DropoutStream).
  at::Tensor step_and_slot = {};
  /// Adapters at work. Unset: all that are attached, on all rows, with the weights they were
  /// attached with. Empty: none, as a reference pass wants it.
  std::optional<std::vector<ActiveAdapter>> adapters = {};

  ops::DropoutStream dropout_stream(uint32_t module) const {
    const void* numbers = step_and_slot.defined() ? step_and_slot.const_data_ptr() : nullptr;
    return {seed, step, slot, module, static_cast<const uint32_t*>(numbers)};
  }
};

/// Called during a backward pass, at the same places of it on every rank: gradients of the flat
/// buffer are final from this element on.
using GradientProgress = std::function<void(int64_t first_final_element)>;

}  // namespace lora_dist
