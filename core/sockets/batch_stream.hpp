// Socket: where the trainer's micro-batches come from. Plugged by data/.
#pragma once

#include "core/training/batch.hpp"

namespace lora_dist {

class BatchStream {
 public:
  virtual ~BatchStream() = default;

  /// Steps in one epoch and in the whole run (epochs or max_steps, whichever the config says).
  virtual int64_t steps_per_epoch() const = 0;
  virtual int64_t num_steps() const = 0;
  virtual int64_t num_samples() const = 0;
  /// What batch_size counts: samples, or packed rows of an epoch.
  virtual int64_t num_rows() const { return num_samples(); }

  /// Pure: equal on every rank, no reading of samples. `step` is 1-based.
  virtual StepPlan plan(int64_t step) const = 0;

  /// Reads the batch of a slot of the plan. Slots are asked for in the order of the plan; an
  /// implementation may read ahead. Errors  DataError, StorageError.
  virtual Batch read(const StepPlan& plan, const Slot& slot) = 0;
};

}  // namespace lora_dist
