// Socket: the sum of a step's slot gradients over all ranks. Plugged by dist/reducers.
#pragma once

#include "core/batch.hpp"

namespace lora_dist {

class GradientReducer {
 public:
  virtual ~GradientReducer() = default;
  /// Called once before the slots of a step. `num_slots` counts all slots of the step, over all
  /// ranks.
  virtual void begin_step(int64_t num_slots) = 0;
  /// The gradient (flat, fp32) of slot `slot_index`; slots of a rank come in ascending order. The
  /// tensor is taken over.
  virtual void add(int64_t slot_index, at::Tensor gradient) = 0;
  /// Ranks   collective, also for a rank that was dealt no slot. Returns the sum over all slots,
  /// equal on every rank; the caller may change it, and it is valid until the next call.
  virtual at::Tensor finalize() = 0;
};

}  // namespace lora_dist
