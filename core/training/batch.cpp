#include "core/training/batch.hpp"

#include <algorithm>

namespace lora_dist {

SlotRange deal_slots(int64_t num_slots, int rank, int world_size) {
  const int64_t each = num_slots / world_size;
  const int64_t extra = num_slots % world_size;
  const int64_t first = rank * each + std::min<int64_t>(rank, extra);
  return {first, first + each + (rank < extra ? 1 : 0)};
}

std::span<const Slot> StepPlan::slots_of(int rank, int world_size) const {
  const SlotRange range = deal_slots(static_cast<int64_t>(slots.size()), rank, world_size);
  return std::span(slots).subspan(range.first, range.size());
}

}  // namespace lora_dist
