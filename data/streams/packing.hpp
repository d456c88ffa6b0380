// Several samples in one row, so that little of a batch is padding (key `packing`).
#pragma once

#include <cstdint>
#include <vector>

namespace lora_dist {

/// Rows of samples, one after the other.
struct PackedRows {
  std::vector<int64_t> samples;
  std::vector<int64_t> ends;  // row r holds samples [ends[r - 1], ends[r])
  int64_t num_rows() const { return static_cast<int64_t>(ends.size()); }
  int64_t begin_of(int64_t row) const { return row == 0 ? 0 : ends[row - 1]; }
};

/// Fills rows up to a cost of `capacity` with the samples of `order`, best fit decreasing. How many
/// rows there are follows from the costs alone, not from the order. Samples of a row and the rows
/// themselves (by their first sample) keep the order. `costs` is [sample], none above `capacity`.
///
/// Source  Johnson 1973, "Near-optimal bin packing algorithms": at most 11/9 of the best number.
PackedRows pack_rows(const std::vector<int64_t>& order, const std::vector<int32_t>& costs,
                     int64_t capacity);

/// The same rows with row `permutation[i]` at place i.
PackedRows permuted(const PackedRows& rows, const std::vector<int64_t>& permutation);

}  // namespace lora_dist
