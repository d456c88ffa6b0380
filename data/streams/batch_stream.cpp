// The training order over a data set, and its batches.
#include "data/streams/batch_stream.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "data/streams/epoch_order.hpp"
#include "data/streams/prefetcher.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kPadMultiple =
    8;  // lengths in steps of 8 keep the matrix products on their fast paths

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
    LD_CHECK(!options_.packing || options_.max_seq_length > 0, "packing without a limit");
    const std::shared_ptr<const EpochOrder> first = order_of(/*epoch=*/0);
    num_rows_ = first->num_rows();
    slots_per_epoch_ = first->num_slots();
    if (options_.prefetch) {
      prefetcher_ = std::make_unique<Prefetcher>(
          num_steps(),
          Prefetcher::Callbacks{[this](int64_t step) { return slots_of_this_rank(plan(step)); },
                                [this](const Slot& slot) { return load(slot); }});
    }
  }

  int64_t num_samples() const override { return static_cast<int64_t>(options_.samples.size()); }
  int64_t num_rows() const override { return num_rows_; }
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
    const std::shared_ptr<const EpochOrder> order = order_of(epoch);
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
  std::shared_ptr<const EpochOrder> order_of(int64_t epoch) const {
    const std::lock_guard lock(orders_mutex_);
    auto& order = orders_[epoch];
    if (!order) {
      order = std::make_shared<const EpochOrder>(
          order_of_epoch({.measures = dataset_.measures(),
                          .samples = options_.samples,
                          .batch_size = options_.batch_size,
                          .row_capacity = options_.packing ? options_.max_seq_length : 0,
                          .shuffle = options_.shuffle,
                          .seed = options_.seed},
                         epoch));
    }
    const auto result = order;
    while (orders_.size() > 2)
      orders_.erase(orders_.begin()->first == epoch ? std::prev(orders_.end()) : orders_.begin());
    return result;
  }

  void add_slot(const EpochOrder& order, int64_t slot_of_epoch, StepPlan& plan) const {
    const SampleMeasures& measures = dataset_.measures();
    Slot slot;
    slot.index = static_cast<int64_t>(plan.slots.size());
    int64_t costliest = 0;
    for (int64_t row = order.first_row_of(slot_of_epoch); row < order.slot_ends[slot_of_epoch];
         ++row) {
      const int64_t begin = order.rows.begin_of(row), end = order.rows.ends[row];
      int64_t cost = 0;
      for (int64_t place = begin; place < end; ++place) {
        const int64_t sample = order.rows.samples[place];
        slot.samples.push_back(sample);
        cost += measures.costs[sample];
        plan.loss_terms += measures.loss_terms[sample];
      }
      if (options_.packing) slot.row_sizes.push_back(end - begin);
      costliest = std::max(costliest, cost);
      plan.cost += cost;
      plan.num_samples += end - begin;
    }
    slot.padded_length = divided_up(costliest, kPadMultiple) * kPadMultiple;
    if (options_.max_seq_length > 0)
      slot.padded_length =
          std::max(costliest, std::min(slot.padded_length, options_.max_seq_length));
    plan.slots.push_back(std::move(slot));
  }

  Batch load(const Slot& slot) const {
    std::vector<Sample> samples;
    samples.reserve(slot.samples.size());
    for (const int64_t sample : slot.samples) samples.push_back(dataset_.read(sample));
    return dataset_.schema().collate(samples, slot);
  }

  Dataset& dataset_;
  StreamOptions options_;
  int64_t num_rows_ = 0, slots_per_epoch_ = 0;
  mutable std::mutex orders_mutex_;
  mutable std::map<int64_t, std::shared_ptr<const EpochOrder>> orders_;  // [epoch]
  std::unique_ptr<Prefetcher> prefetcher_;  // last: its thread uses the members above
};

}  // namespace

std::unique_ptr<BatchStream> make_batch_stream(Dataset& dataset, StreamOptions options) {
  return std::make_unique<DatasetStream>(dataset, std::move(options));
}

}  // namespace lora_dist
