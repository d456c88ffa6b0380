#include "data/streams/packing.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/base/error.hpp"

namespace lora_dist {

PackedRows pack_rows(const std::vector<int64_t>& order, const std::vector<int32_t>& costs,
                     int64_t capacity) {
  const auto cost_at = [&](int64_t place) { return int64_t{costs[order[place]]}; };
  std::vector<int64_t> places(order.size());
  std::iota(places.begin(), places.end(), int64_t{0});
  std::ranges::stable_sort(places, std::ranges::greater(), cost_at);

  std::vector<std::vector<int64_t>> rows;       // places in `order`
  std::multimap<int64_t, size_t> rows_by_room;  // room left in a row that is not full
  for (const int64_t place : places) {
    const int64_t cost = cost_at(place);
    LD_CHECK(cost <= capacity, "a sample longer than a row");
    const auto fitting = rows_by_room.lower_bound(cost);
    int64_t room = capacity;
    size_t row = rows.size();
    if (fitting == rows_by_room.end()) {
      rows.emplace_back();
    } else {
      room = fitting->first;
      row = fitting->second;
      rows_by_room.erase(fitting);
    }
    rows[row].push_back(place);
    if (room > cost) rows_by_room.emplace(room - cost, row);
  }

  for (std::vector<int64_t>& row : rows) std::ranges::sort(row);
  std::ranges::sort(rows, {}, [](const std::vector<int64_t>& row) { return row.front(); });
  PackedRows packed;
  packed.samples.reserve(order.size());
  for (const std::vector<int64_t>& row : rows) {
    for (const int64_t place : row) packed.samples.push_back(order[place]);
    packed.ends.push_back(static_cast<int64_t>(packed.samples.size()));
  }
  return packed;
}

PackedRows permuted(const PackedRows& rows, const std::vector<int64_t>& permutation) {
  PackedRows result;
  result.samples.reserve(rows.samples.size());
  for (const int64_t row : permutation) {
    result.samples.insert(result.samples.end(), rows.samples.begin() + rows.begin_of(row),
                          rows.samples.begin() + rows.ends[row]);
    result.ends.push_back(static_cast<int64_t>(result.samples.size()));
  }
  return result;
}

}  // namespace lora_dist
