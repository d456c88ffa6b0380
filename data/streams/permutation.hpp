// Random orders that every rank computes alike, from the counter-based generator.
#pragma once

#include <cstdint>
#include <vector>

namespace lora_dist {

/// What a draw is for; keeps the streams of one seed apart.
enum class DrawPurpose : uint32_t {
  kEpochOrder = 1,
  kValidationSplit = 2,
  kRowOrder = 3,
  kSlotOrder = 4
};

/// The numbers 0 .. count-1 in a random order: a pure function of the arguments, every order
/// equally likely.
std::vector<int64_t> random_permutation(int64_t count, int64_t seed, DrawPurpose purpose,
                                        int64_t epoch);

}  // namespace lora_dist
