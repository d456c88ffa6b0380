// Socket: the sum of a step's slot gradients over all ranks. Plugged by dist/reducers.
//
// The gradient of a rank's last slot becomes final from its end towards its start while the
// backward pass goes on, so what is final can travel beside what is still computed: add_last()
// before that pass, advance() during it. Without them everything travels in finalize(), with the
// same bits.
#pragma once

#include "core/training/batch.hpp"

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
  /// The same for the rank's last slot before its backward pass: the tensor is still written to, up
  /// to finalize() or to what advance() says.
  virtual void add_last(int64_t slot_index, at::Tensor gradient) = 0;
  /// The gradients of all slots of this rank are final from this element on; less of it at every
  /// call.
  ///
  /// Ranks   collective, also for a rank that was dealt no slot: the same calls on all of them,
  /// between the same other collectives. Errors  CommError.
  virtual void advance(int64_t first_final_element) = 0;
  /// Ranks   collective, also for a rank that was dealt no slot. Returns the sum over all slots,
  /// equal on every rank; the caller may change it, and it is valid until the next call.
  virtual at::Tensor finalize() = 0;
};

}  // namespace lora_dist
