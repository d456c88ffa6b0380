// What one pass over a micro-batch runs with, and what it tells while it goes back.
#pragma once

#include <cstdint>
#include <functional>

#include "core/ops/ops.hpp"

namespace lora_dist {

/// What a layer or an adapter may ask about the micro-batch it runs in.
struct PassContext {
  bool training = false;  // dropout is drawn
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t slot = 0;
  /// int32 (2) on the model's device: where defined, the bits of step and slot are read from here
  /// (ops::DropoutStream).
  at::Tensor step_and_slot = {};

  ops::DropoutStream dropout_stream(uint32_t module) const {
    const void* numbers = step_and_slot.defined() ? step_and_slot.const_data_ptr() : nullptr;
    return {seed, step, slot, module, static_cast<const uint32_t*>(numbers)};
  }
};

/// Called during a backward pass, at the same places of it on every rank: gradients of the flat
/// buffer are final from this element on.
using GradientProgress = std::function<void(int64_t first_final_element)>;

}  // namespace lora_dist
