#include "data/streams/prefetcher.hpp"

#include <algorithm>
#include <utility>

namespace lora_dist {

Prefetcher::Prefetcher(int64_t num_steps, Callbacks callbacks)
    : num_steps_(num_steps), callbacks_(std::move(callbacks)) {}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Batch Prefetcher::take(int64_t step, const Slot& slot) {
  const Place place{step, slot.index};
  std::unique_lock lock(mutex_);
  if (!is_next(place)) {
    ready_.clear();
    next_ = place;
    ++generation_;
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  work_.notify_all();
  arrived_.wait(lock, [&] { return !ready_.empty() || !next_; });
  if (ready_.empty()) {  // beyond the last step
    lock.unlock();
    return callbacks_.load(slot);
  }
  Item item = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  work_.notify_all();
  if (item.slot.samples != slot.samples || item.slot.row_sizes != slot.row_sizes ||
      item.slot.padded_length != slot.padded_length)
    return callbacks_.load(slot);
  if (item.error) std::rethrow_exception(item.error);
  return std::move(item.batch);
}

bool Prefetcher::is_next(const Place& place) const {
  return ready_.empty() ? next_ == place : ready_.front().place == place;
}

void Prefetcher::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stopping_ || (next_ && ready_.size() < kDepth); });
    if (stopping_) return;
    const Place place = *next_;
    const int64_t generation = generation_;
    lock.unlock();
    const std::optional<Upcoming> upcoming = look_up(place);
    std::optional<Item> item;
    if (upcoming) item = load_item(place, upcoming->slot);
    lock.lock();
    if (generation != generation_) continue;
    next_ = upcoming ? upcoming->after : std::nullopt;
    if (item) ready_.push_back(std::move(*item));
    arrived_.notify_all();
  }
}

std::optional<Prefetcher::Upcoming> Prefetcher::look_up(const Place& place) {
  const auto load_step = [&](int64_t step) {
    if (step_slots_step_ != step) step_slots_ = callbacks_.slots_of_step(step);
    step_slots_step_ = step;
  };
  if (place.step < 1 || place.step > num_steps_) return std::nullopt;
  load_step(place.step);
  const auto found = std::ranges::find(step_slots_, place.slot_index, &Slot::index);
  if (found == step_slots_.end()) return std::nullopt;
  Upcoming upcoming{*found, std::nullopt};
  if (found + 1 != step_slots_.end()) {
    upcoming.after = Place{place.step, (found + 1)->index};
    return upcoming;
  }
  for (int64_t step = place.step + 1; step <= num_steps_ && !upcoming.after; ++step) {
    load_step(step);
    if (!step_slots_.empty()) upcoming.after = Place{step, step_slots_.front().index};
  }
  return upcoming;
}

Prefetcher::Item Prefetcher::load_item(const Place& place, const Slot& slot) const {
  Item item{.place = place, .slot = slot, .batch = {}, .error = nullptr};
  try {
    item.batch = callbacks_.load(slot);
  } catch (...) {
    item.error = std::current_exception();
  }
  return item;
}

}  // namespace lora_dist
