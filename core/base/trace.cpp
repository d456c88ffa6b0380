#include "core/base/trace.hpp"

#include <mutex>
#include <utility>

namespace lora_dist::trace {
namespace {

std::atomic<int64_t> recording{0};  // 0: off; else the number of the recording
std::mutex mutex;                   // guards all below
int64_t num_recordings = 0;
Clock::time_point start_time;
std::vector<Event> events;
int num_threads = 0;

thread_local Span* innermost = nullptr;
thread_local int thread_number = -1;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

void start() {
  const std::lock_guard lock(mutex);
  events.clear();
  start_time = Clock::now();
  recording = ++num_recordings;
}

std::vector<Event> stop() {
  const std::lock_guard lock(mutex);
  recording = 0;
  return std::exchange(events, {});
}

Span::Span(const char* name)
    : name_(name), recorded_(recording.load(std::memory_order_relaxed) != 0) {
  if (!recorded_) return;
  recording_ = recording;
  outer_ = std::exchange(innermost, this);
  begin_ = Clock::now();
}

void Span::finish() {
  const double duration_s = seconds(Clock::now() - begin_);
  innermost = outer_;
  if (outer_) outer_->inner_s_ += duration_s;
  const std::lock_guard lock(mutex);
  if (recording_ != recording) return;  // its recording has ended
  if (thread_number < 0) thread_number = num_threads++;
  events.push_back(
      {name_, thread_number, seconds(begin_ - start_time), duration_s, duration_s - inner_s_});
}

}  // namespace lora_dist::trace
