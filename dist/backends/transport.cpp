#include "dist/backends/transport.hpp"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace lora_dist {
namespace {

// A message of a few megabytes is through in this time when the peers are there; who waits longer
// waits for a peer's arithmetic and should leave it the core.
constexpr auto kBusyWait = std::chrono::milliseconds(5);
constexpr auto kNap = std::chrono::microseconds(50);

}  // namespace

Deadline deadline_in(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(seconds));
}

double seconds_until(Deadline deadline) {
  return std::max(
      0.0, std::chrono::duration<double>(deadline - std::chrono::steady_clock::now()).count());
}

bool poll_until(Deadline deadline, const std::function<bool()>& ready) {
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    if (ready()) return true;
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) return false;
    if (now - begin < kBusyWait) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

std::vector<int> ranks_of_colour(const std::vector<int64_t>& colours, int rank) {
  std::vector<int> ranks;
  for (int other = 0; other < static_cast<int>(colours.size()); ++other)
    if (colours[other] == colours[rank]) ranks.push_back(other);
  return ranks;
}

}  // namespace lora_dist
