// Philox4x32-10, the counter-based generator behind every random choice of the project.
//
// A block of four 32-bit words is a pure function of (counter, key): no state to save, no order to
// keep. Whoever draws puts into the counter what identifies the draw (epoch, step, slot, module,
// element), so any rank can compute any of them alone.
//
// Source  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; checked against
// Random123's known answers.
#pragma once

#include <array>
#include <cstdint>

namespace lora_dist {

using PhiloxBlock = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

constexpr PhiloxKey philox_key(uint64_t seed) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
}

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53, kPhiloxMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9, kPhiloxWeyl1 = 0xBB67AE85;

/// Four independent uniform 32-bit draws.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kPhiloxMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kPhiloxWeyl0;
    key[1] += kPhiloxWeyl1;
  }
  return counter;
}

/// Uniform in [0, 1) with 24 bits, exact in fp32.
constexpr float philox_uniform(uint32_t draw) {
  return static_cast<float>(draw >> 8) * (1.0f / 16777216.0f);
}

}  // namespace lora_dist
