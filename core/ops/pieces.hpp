// How large matrices are cut.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lora_dist::ops {

/// [0, count) in pieces of nearly equal size, of at most `most` rounded up to a multiple of `unit`.
struct Pieces {
  int64_t count, size;

  Pieces(int64_t count, int64_t most, int64_t unit = 1) : count(count) {
    const int64_t num_pieces = (count + most - 1) / most;
    size = ((count + num_pieces - 1) / num_pieces + unit - 1) / unit * unit;
  }

  /// use(first, size of this one).
  template <class Use>
  void for_each(const Use& use) const {
    for (int64_t first = 0; first < count; first += size) use(first, std::min(size, count - first));
  }
};

}  // namespace lora_dist::ops
