// What one micro-batch holds and what one step consumes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace lora_dist {

/// One micro-batch: the tensors that a task made of its samples, by name. The task's own type tells
/// which (core/tasks/text_batch.hpp).
struct Batch {
  std::map<std::string, at::Tensor> columns;
  int64_t loss_terms = 0;  // as of its samples, summed: what the loss is divided by
  int64_t cost = 0;        // as of its samples, summed: tokens of texts, padding not counted
};

/// A numbered micro-batch of a step: the same samples in the same order with the same padding
/// wherever it runs.
struct Slot {
  int64_t index = 0;  // 0 .. num_slots-1 within the step
  std::vector<int64_t>
      samples;  // indices into the prepared data set; the last slot of an epoch may be short
  std::vector<int64_t> row_sizes;  // packed: how many samples each row holds; else empty, one each
  int64_t padded_length = 0;       // what the costliest row is filled up to: T of a batch of texts
  int64_t num_rows() const {
    return static_cast<int64_t>(row_sizes.empty() ? samples.size() : row_sizes.size());
  }
};

/// Slots first .. end-1 of a step.
struct SlotRange {
  int64_t first = 0;
  int64_t end = 0;
  int64_t size() const { return end - first; }
};

/// The contiguous run dealt to `rank`; the first num_slots % world_size ranks get one more. May be
/// empty.
SlotRange deal_slots(int64_t num_slots, int rank, int world_size);

/// What one optimiser step consumes, computed alike by every rank from (seed, epoch, step).
struct StepPlan {
  int64_t step = 0;         // 1-based
  double epoch = 0;         // epochs completed after this step
  int64_t loss_terms = 0;   // over all slots and ranks: the one denominator of the loss
  int64_t cost = 0;         // over all slots: real tokens of texts
  int64_t num_samples = 0;  // over all slots
  std::vector<Slot> slots;

  /// The slots that deal_slots gives to `rank`.
  std::span<const Slot> slots_of(int rank, int world_size) const;
};

}  // namespace lora_dist
