#include "data/streams/permutation.hpp"

#include <numeric>
#include <utility>

#include "core/base/philox.hpp"

namespace lora_dist {
namespace {

/// 64-bit draws number 0, 1, 2, ... of the stream (seed, purpose, epoch).
class DrawStream {
 public:
  DrawStream(int64_t seed, DrawPurpose purpose, int64_t epoch)
      : key_(philox_key(static_cast<uint64_t>(seed))),
        purpose_(static_cast<uint32_t>(purpose)),
        epoch_(static_cast<uint32_t>(epoch)) {}

  /// Uniform in 0 .. bound-1 without bias: Lemire 2019, "Fast random integer generation in an
  /// interval".
  uint64_t below(uint64_t bound) {
    const uint64_t threshold =
        -bound % bound;  // 2^64 mod bound: draws below it would favour small results
    while (true) {
      const auto product = static_cast<unsigned __int128>(next()) * bound;
      if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
    }
  }

 private:
  uint64_t next() {
    const uint64_t block_number = num_drawn_ / 2;
    if (num_drawn_ % 2 == 0) {
      block_ = philox4x32({static_cast<uint32_t>(block_number),
                           static_cast<uint32_t>(block_number >> 32), epoch_, purpose_},
                          key_);
    }
    const size_t half = num_drawn_++ % 2 * 2;
    return block_[half] | static_cast<uint64_t>(block_[half + 1]) << 32;
  }

  PhiloxKey key_;
  uint32_t purpose_, epoch_;
  uint64_t num_drawn_ = 0;
  PhiloxBlock block_{};
};

}  // namespace

std::vector<int64_t> random_permutation(int64_t count, int64_t seed, DrawPurpose purpose,
                                        int64_t epoch) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  DrawStream draws(seed, purpose, epoch);
  for (int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[draws.below(i + 1)]);
  return order;
}

}  // namespace lora_dist
