// How a rank waits for ranks of other processes: looks a while, then sleeps until somebody rings.
//
// Lies in shared memory, one for each rank that waits. Whoever changed something that the owner may
// wait for rings it, which costs one load while the owner is awake.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

namespace lora_dist {

class alignas(64) Doorbell {
 public:
  /// Call after the change is stored (sequentially consistent).
  void ring();

  /// Returns when `ready` does, or at `until`; then what `ready` says. Looks for `watch` before it
  /// sleeps. One thread at a time: the owner's.
  bool wait(const std::function<bool()>& ready, std::chrono::steady_clock::time_point until,
            std::chrono::microseconds watch);

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> asleep_{0};
};

}  // namespace lora_dist
