// The order of an epoch: which samples stand in which rows, and which rows in which slots.
#pragma once

#include <cstdint>
#include <vector>

#include "core/samples/sample.hpp"
#include "data/streams/packing.hpp"

namespace lora_dist {

struct EpochRequest {
  const SampleMeasures& measures;
  const std::vector<int64_t>& samples;  // of the data set, those of the stream
  int64_t batch_size = 1;               // rows of a slot
  int64_t row_capacity = 0;             // 0: a row is a sample; else the cost that a row may have
  bool shuffle = true;
  int64_t seed = 0;
};

struct EpochOrder {
  PackedRows rows;
  std::vector<int64_t> slot_ends;  // slot s holds rows [slot_ends[s - 1], slot_ends[s])

  int64_t num_slots() const { return std::ssize(slot_ends); }
  int64_t first_row_of(int64_t slot) const { return slot == 0 ? 0 : slot_ends[slot - 1]; }
  int64_t num_rows() const { return rows.num_rows(); }
};

/// A pure function of its arguments, equal at any world size. All samples of a slot are of one
/// bucket; the slots of several buckets are put in an order of their own. How many rows and slots
/// there are does not depend on `epoch`.
EpochOrder order_of_epoch(const EpochRequest& request, int64_t epoch);

}  // namespace lora_dist
