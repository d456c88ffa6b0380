// Reads batches ahead of the training loop in a thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/training/batch.hpp"

namespace lora_dist {

class Prefetcher {
 public:
  struct Callbacks {
    std::function<std::vector<Slot>(int64_t step)>
        slots_of_step;  // this rank's, in order; may be none
    std::function<Batch(const Slot&)> load;
  };
  /// Starts nothing yet. Steps are 1 .. num_steps.
  Prefetcher(int64_t num_steps, Callbacks callbacks);
  /// Waits for the batch that is being read, not for those queued.
  ~Prefetcher();

  /// The batch of a slot of this rank. Asking in order finds it read already; asking for another
  /// place (a resume) starts reading ahead from there. Errors  what reading the batch threw.
  Batch take(int64_t step, const Slot& slot);

 private:
  struct Place {
    int64_t step = 0, slot_index = 0;
    bool operator==(const Place&) const = default;
  };
  struct Item {
    Place place;
    Slot slot;
    Batch batch;
    std::exception_ptr error;
  };

  void run();
  /// The slot at `place`, and the place after it; nothing at the end.
  struct Upcoming {
    Slot slot;
    std::optional<Place> after;
  };
  std::optional<Upcoming> look_up(const Place& place);
  Item load_item(const Place& place, const Slot& slot) const;
  bool is_next(const Place& place) const;

  static constexpr size_t kDepth = 4;  // batches in the queue

  const int64_t num_steps_;
  const Callbacks callbacks_;
  std::vector<Slot> step_slots_;  // of the thread alone: slots of step_slots_step_
  int64_t step_slots_step_ = 0;

  std::mutex mutex_;  // of the members below
  std::condition_variable work_, arrived_;
  std::deque<Item> ready_;
  std::optional<Place> next_;  // what the thread reads next or is reading; nothing: the end
  int64_t generation_ = 0;     // counts restarts; a batch read for an older one is dropped
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lora_dist
