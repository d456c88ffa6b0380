#include "data/streams/epoch_order.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "data/streams/permutation.hpp"

namespace lora_dist {
namespace {

PackedRows rows_of(std::vector<int64_t> samples, const EpochRequest& request, int64_t epoch) {
  if (request.row_capacity == 0) {
    PackedRows rows{.samples = std::move(samples), .ends = {}};
    rows.ends.resize(rows.samples.size());
    std::iota(rows.ends.begin(), rows.ends.end(), int64_t{1});
    return rows;
  }
  PackedRows rows = pack_rows(samples, request.measures.costs, request.row_capacity);
  if (!request.shuffle) return rows;
  // Rows with many samples are early in the order of their first ones.
  return permuted(rows,
                  random_permutation(rows.num_rows(), request.seed, DrawPurpose::kRowOrder, epoch));
}

/// Appends rows, and the slots that they make.
void append(PackedRows rows, int64_t batch_size, EpochOrder& order) {
  const int64_t first_row = order.num_rows();
  const auto first_sample = std::ssize(order.rows.samples);
  for (int64_t row = 0; row < rows.num_rows(); row += batch_size)
    order.slot_ends.push_back(first_row + std::min(row + batch_size, rows.num_rows()));
  if (first_row == 0) {
    order.rows = std::move(rows);
    return;
  }
  order.rows.samples.insert(order.rows.samples.end(), rows.samples.begin(), rows.samples.end());
  for (const int64_t end : rows.ends) order.rows.ends.push_back(first_sample + end);
}

/// The same slots with slot `permutation[i]` at place i.
EpochOrder permuted_slots(const EpochOrder& order, const std::vector<int64_t>& permutation) {
  std::vector<int64_t> rows;
  EpochOrder result;
  for (const int64_t slot : permutation) {
    for (int64_t row = order.first_row_of(slot); row < order.slot_ends[slot]; ++row)
      rows.push_back(row);
    result.slot_ends.push_back(std::ssize(rows));
  }
  result.rows = permuted(order.rows, rows);
  return result;
}

/// The slots in the order of their first samples in `order`.
std::vector<int64_t> by_first_sample(const EpochOrder& slots, const std::vector<int64_t>& order) {
  std::unordered_map<int64_t, size_t> places;  // [sample]
  for (size_t place = 0; place < order.size(); ++place) places[order[place]] = place;
  std::vector<int64_t> result(slots.num_slots());
  std::iota(result.begin(), result.end(), int64_t{0});
  std::ranges::sort(result, {}, [&](int64_t slot) {
    return places.at(slots.rows.samples[slots.rows.begin_of(slots.first_row_of(slot))]);
  });
  return result;
}

}  // namespace

EpochOrder order_of_epoch(const EpochRequest& request, int64_t epoch) {
  std::vector<int64_t> order = request.samples;
  if (request.shuffle) {
    order = random_permutation(std::ssize(order), request.seed, DrawPurpose::kEpochOrder, epoch);
    for (int64_t& place : order) place = request.samples[place];
  }
  std::map<int32_t, std::vector<int64_t>> by_bucket;
  for (const int64_t sample : order) by_bucket[request.measures.buckets[sample]].push_back(sample);
  EpochOrder slots;
  for (auto& [bucket, samples] : by_bucket)
    append(rows_of(std::move(samples), request, epoch), request.batch_size, slots);
  if (by_bucket.size() == 1) return slots;
  return permuted_slots(slots, request.shuffle ? random_permutation(slots.num_slots(), request.seed,
                                                                    DrawPurpose::kSlotOrder, epoch)
                                               : by_first_sample(slots, order));
}

}  // namespace lora_dist
