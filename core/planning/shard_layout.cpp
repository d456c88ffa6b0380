#include "core/planning/shard_layout.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kAlignment = 64;  // of a matrix and of a slice: a cache line, as LibTorch's own

int64_t rounded_up(int64_t bytes, int64_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

}  // namespace

std::vector<UnitLayout> unit_layouts(const WeightSource& source, const WeightUnits& units,
                                     int num_ranks) {
  std::vector<UnitLayout> layouts;
  for (const std::vector<size_t>& unit : units) {
    UnitLayout layout;
    int64_t end = 0;
    for (const size_t index : unit) {
      const WeightInfo& weight = source.weights()[index];
      if (!is_cut(weight)) continue;
      layout.matrices.push_back({index, end, stored_bytes(weight)});
      end += rounded_up(stored_bytes(weight), kAlignment);
    }
    layout.slice_bytes = rounded_up(end, kAlignment * num_ranks) / num_ranks;
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

}  // namespace lora_dist
