// What one micro-batch holds and what one step consumes.
//
// Shapes: B sequences in a micro-batch, T tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lora_dist {

inline constexpr int64_t kIgnoredLabel = -100;  // PyTorch's ignore_index

/// One micro-batch. Right-padded: position t of a row attends to positions <= t only, so padding
/// never reaches a real token and needs no mask.
struct Batch {
  at::Tensor tokens_BT;  // int64
  at::Tensor labels_BT;  // int64; [b][t] is the token that position t predicts (already shifted),
                         // or kIgnoredLabel
  /// Packed rows only, else undefined: int64; the place of each token in its own sample. A position
  /// sees its own sample alone.
  at::Tensor positions_BT = {};
  /// [row] tokens of its sample, padding not counted; empty: all T of each, or packed rows.
  std::vector<int64_t> lengths = {};
  int64_t num_labels = 0;
  int64_t num_tokens = 0;  // real tokens, padding not counted
};

/// A numbered micro-batch of a step: the same samples in the same order with the same padding
/// wherever it runs.
struct Slot {
  int64_t index = 0;  // 0 .. num_slots-1 within the step
  std::vector<int64_t>
      samples;  // indices into the prepared data set; the last slot of an epoch may be short
  std::vector<int64_t> row_sizes;  // packed: how many samples each row holds; else empty, one each
  int64_t padded_length = 0;       // T of the batch
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
  int64_t num_labels = 0;   // over all slots and ranks: the one denominator of the loss
  int64_t num_tokens = 0;   // real tokens over all slots
  int64_t num_samples = 0;  // over all slots
  std::vector<Slot> slots;

  /// The slots that deal_slots gives to `rank`.
  std::span<const Slot> slots_of(int rank, int world_size) const;
};

}  // namespace lora_dist
