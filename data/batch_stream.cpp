// The training order over a data set, and its batches.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "core/trace.hpp"
#include "data/dataset.hpp"
#include "data/permutation.hpp"
#include "data/prefetcher.hpp"

namespace lora_dist {
namespace {

// Shapes: B sequences in a micro-batch, T tokens.

constexpr int64_t kPadMultiple =
    8;                         // lengths in steps of 8 keep the matrix products on their fast paths
constexpr int64_t kPadId = 0;  // any id will do: no label and no real token looks at it

int64_t divided_up(int64_t count, int64_t by) { return (count + by - 1) / by; }

class DatasetStream : public BatchStream {
 public:
  DatasetStream(Dataset& dataset, StreamOptions options)
      : dataset_(dataset), options_(std::move(options)) {
    if (options_.samples.empty()) {
      options_.samples.resize(dataset.num_samples());
      std::iota(options_.samples.begin(), options_.samples.end(), int64_t{0});
    }
    LD_CHECK(!options_.samples.empty(), "a stream over no samples");
    slots_per_epoch_ = divided_up(num_samples(), options_.batch_size);
    if (options_.prefetch) {
      prefetcher_ = std::make_unique<Prefetcher>(
          num_steps(),
          Prefetcher::Callbacks{[this](int64_t step) { return slots_of_this_rank(plan(step)); },
                                [this](const Slot& slot) { return load(slot); }});
    }
  }

  int64_t num_samples() const override { return static_cast<int64_t>(options_.samples.size()); }
  int64_t steps_per_epoch() const override {
    return divided_up(slots_per_epoch_, options_.slots_per_step);
  }

  int64_t num_steps() const override {
    if (options_.max_steps > 0) return options_.max_steps;
    // 3.0000000000000004 epochs are three: the excess comes from the arithmetic of the share.
    const double steps = options_.epochs * static_cast<double>(steps_per_epoch());
    return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps * (1 - 1e-12))));
  }

  StepPlan plan(int64_t step) const override {
    LD_CHECK(step >= 1, "steps count from 1");
    const int64_t epoch = (step - 1) / steps_per_epoch();
    const int64_t first_slot = (step - 1) % steps_per_epoch() * options_.slots_per_step;
    const int64_t end_slot = std::min(first_slot + options_.slots_per_step, slots_per_epoch_);
    const std::shared_ptr<const std::vector<int64_t>> order = order_of_epoch(epoch);
    StepPlan plan;
    plan.step = step;
    plan.epoch = static_cast<double>(step) / static_cast<double>(steps_per_epoch());
    for (int64_t slot = first_slot; slot < end_slot; ++slot) add_slot(*order, slot, plan);
    return plan;
  }

  Batch read(const StepPlan& plan, const Slot& slot) override {
    const trace::Span span("data");
    const auto mine = plan.slots_of(options_.rank, options_.world_size);
    const bool is_mine = std::ranges::find(mine, slot.index, &Slot::index) != mine.end();
    return prefetcher_ && is_mine ? prefetcher_->take(plan.step, slot) : load(slot);
  }

 private:
  std::vector<Slot> slots_of_this_rank(const StepPlan& plan) const {
    const auto mine = plan.slots_of(options_.rank, options_.world_size);
    return {mine.begin(), mine.end()};
  }

  /// Kept for the epochs in use: the reading thread may be one ahead of the training loop.
  std::shared_ptr<const std::vector<int64_t>> order_of_epoch(int64_t epoch) const {
    const std::lock_guard lock(orders_mutex_);
    auto& order = orders_[epoch];
    if (!order) {
      auto positions = std::make_shared<std::vector<int64_t>>(options_.samples);
      if (options_.shuffle) {
        *positions =
            random_permutation(num_samples(), options_.seed, DrawPurpose::kEpochOrder, epoch);
        for (int64_t& position : *positions) position = options_.samples[position];
      }
      order = std::move(positions);
    }
    const auto result = order;
    while (orders_.size() > 2)
      orders_.erase(orders_.begin()->first == epoch ? std::prev(orders_.end()) : orders_.begin());
    return result;
  }

  void add_slot(const std::vector<int64_t>& order, int64_t slot_of_epoch, StepPlan& plan) const {
    const int64_t begin = slot_of_epoch * options_.batch_size;
    const int64_t end = std::min(begin + options_.batch_size, num_samples());
    Slot slot;
    slot.index = static_cast<int64_t>(plan.slots.size());
    slot.samples.assign(order.begin() + begin, order.begin() + end);
    int64_t longest = 0;
    for (const int64_t sample : slot.samples) {
      longest = std::max<int64_t>(longest, dataset_.lengths()[sample]);
      plan.num_tokens += dataset_.lengths()[sample];
      plan.num_labels += dataset_.num_labels()[sample];
    }
    slot.padded_length = divided_up(longest, kPadMultiple) * kPadMultiple;
    if (options_.max_seq_length > 0)
      slot.padded_length = std::max(longest, std::min(slot.padded_length, options_.max_seq_length));
    plan.num_samples += end - begin;
    plan.slots.push_back(std::move(slot));
  }

  Batch load(const Slot& slot) const {
    const auto num_rows = static_cast<int64_t>(slot.samples.size());
    Batch batch;
    batch.tokens_BT = at::empty({num_rows, slot.padded_length}, at::kLong);
    batch.labels_BT = at::empty({num_rows, slot.padded_length}, at::kLong);
    for (int64_t row = 0; row < num_rows; ++row) {
      const Tokens sample = dataset_.read(slot.samples[row]);
      const auto length = static_cast<int64_t>(sample.ids.size());
      LD_CHECK(length <= slot.padded_length, "a sample longer than its slot");
      int64_t* tokens = batch.tokens_BT.mutable_data_ptr<int64_t>() + row * slot.padded_length;
      int64_t* labels = batch.labels_BT.mutable_data_ptr<int64_t>() + row * slot.padded_length;
      // Plain loops: a parallel fill of LibTorch would start a second pool of threads from the
      // reading thread.
      std::copy(sample.ids.begin(), sample.ids.end(), tokens);
      std::fill(tokens + length, tokens + slot.padded_length, kPadId);
      std::fill(labels, labels + slot.padded_length, kIgnoredLabel);
      for (int64_t t = 0; t + 1 < length; ++t) {
        if (sample.loss_mask[t + 1] == 0) continue;
        labels[t] = sample.ids[t + 1];
        ++batch.num_labels;
      }
      batch.num_tokens += length;
    }
    return batch;
  }

  Dataset& dataset_;
  StreamOptions options_;
  int64_t slots_per_epoch_ = 0;
  mutable std::mutex orders_mutex_;
  mutable std::map<int64_t, std::shared_ptr<const std::vector<int64_t>>> orders_;  // [epoch]
  std::unique_ptr<Prefetcher> prefetcher_;  // last: its thread uses the members above
};

}  // namespace

std::unique_ptr<BatchStream> make_batch_stream(Dataset& dataset, StreamOptions options) {
  return std::make_unique<DatasetStream>(dataset, std::move(options));
}

}  // namespace lora_dist
