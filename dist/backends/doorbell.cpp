#include "dist/backends/doorbell.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include <linux/futex.h>
#include <sys/syscall.h>

namespace lora_dist {
namespace {

using Clock = std::chrono::steady_clock;

static_assert(std::atomic<uint32_t>::is_always_lock_free, "a futex is a plain word");

void futex_wait(std::atomic<uint32_t>& word, uint32_t seen, Clock::duration limit) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
  const timespec time{static_cast<time_t>(seconds.count()),
                      static_cast<long>(std::chrono::nanoseconds(limit - seconds).count())};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &time, nullptr,
          0);  // other processes ring: not private
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  sched_yield();
#endif
}

}  // namespace

void Doorbell::ring() {
  // The change was stored before this load, and the owner sets asleep_ before it looks for the
  // change once more: one of the two sees the other.
  if (asleep_.load() == 0) return;
  rings_.fetch_add(1);
  syscall(SYS_futex, &rings_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

bool Doorbell::wait(const std::function<bool()>& ready, Clock::time_point until,
                    std::chrono::microseconds watch) {
  const Clock::time_point asleep_from = std::min(Clock::now() + watch, until);
  do {
    for (int look = 0; look < 50; ++look) {
      if (ready()) return true;
      pause_briefly();
    }
  } while (Clock::now() < asleep_from);
  bool is_ready = false;
  asleep_.store(1);
  for (;;) {
    const uint32_t seen = rings_.load();
    is_ready = ready();
    const Clock::time_point now = Clock::now();
    if (is_ready || now >= until) break;
    futex_wait(rings_, seen, until - now);
  }
  asleep_.store(0);
  return is_ready;
}

}  // namespace lora_dist
