// Where the time of a step goes: named spans of each thread, kept in memory while a recording is
// on.
//
// A span costs an atomic load when nothing is recorded. Names are literals: their text is not
// copied.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace lora_dist::trace {

using Clock = std::chrono::steady_clock;

struct Event {
  const char* name;
  int thread;      // 0, 1, ... in the order of their first span
  double begin_s;  // since start()
  double duration_s;
  double own_s;  // without the spans inside it
};

/// Begins a recording; spans that are open already are not part of it. One recording at a time in a
/// process.
void start();
/// Ends it. Spans in the order of their ends; those still open are left out.
std::vector<Event> stop();

/// Lasts from its construction to its destruction. Spans of a thread are nested.
class Span {
 public:
  explicit Span(const char* name);
  ~Span() {
    if (recorded_) finish();
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  void finish();

  const char* name_;
  bool recorded_;
  int64_t recording_ = 0;
  Clock::time_point begin_;
  double inner_s_ = 0;
  Span* outer_ = nullptr;
};

}  // namespace lora_dist::trace
