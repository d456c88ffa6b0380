#include "core/batch.hpp"

#include <algorithm>

namespace lora_dist {

std::span<const Slot> StepPlan::slots_of(int rank, int world_size) const {
  const auto num_slots = static_cast<int64_t>(slots.size());
  const int64_t each = num_slots / world_size;
  const int64_t extra = num_slots % world_size;
  const int64_t first = rank * each + std::min<int64_t>(rank, extra);
  return std::span(slots).subspan(first, each + (rank < extra ? 1 : 0));
}

}  // namespace lora_dist
