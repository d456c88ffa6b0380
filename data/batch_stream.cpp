// The training order over a data set, and its batches.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/trace.hpp"
#include "data/dataset.hpp"
#include "data/packing.hpp"
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
    LD_CHECK(!options_.packing || options_.max_seq_length > 0, "packing without a limit");
    num_rows_ = options_.packing ? order_of_epoch(0)->num_rows() : num_samples();
    slots_per_epoch_ = divided_up(num_rows_, options_.batch_size);
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
    const std::shared_ptr<const PackedRows> order = order_of_epoch(epoch);
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

  /// Without packing only its samples: a row is a sample then.
  PackedRows make_order(int64_t epoch) const {
    std::vector<int64_t> order = options_.samples;
    if (options_.shuffle) {
      order = random_permutation(num_samples(), options_.seed, DrawPurpose::kEpochOrder, epoch);
      for (int64_t& place : order) place = options_.samples[place];
    }
    if (!options_.packing) return {.samples = std::move(order), .ends = {}};
    PackedRows rows = pack_rows(order, dataset_.lengths(), options_.max_seq_length);
    if (!options_.shuffle) return rows;
    // Rows with many samples are early in the order of their first ones.
    return permuted(
        rows, random_permutation(rows.num_rows(), options_.seed, DrawPurpose::kRowOrder, epoch));
  }

  /// Kept for the epochs in use: the reading thread may be one ahead of the training loop.
  std::shared_ptr<const PackedRows> order_of_epoch(int64_t epoch) const {
    const std::lock_guard lock(orders_mutex_);
    auto& order = orders_[epoch];
    if (!order) order = std::make_shared<const PackedRows>(make_order(epoch));
    const auto result = order;
    while (orders_.size() > 2)
      orders_.erase(orders_.begin()->first == epoch ? std::prev(orders_.end()) : orders_.begin());
    return result;
  }

  void add_slot(const PackedRows& order, int64_t slot_of_epoch, StepPlan& plan) const {
    const int64_t first_row = slot_of_epoch * options_.batch_size;
    const int64_t end_row = std::min(first_row + options_.batch_size, num_rows_);
    Slot slot;
    slot.index = static_cast<int64_t>(plan.slots.size());
    int64_t longest = 0;
    for (int64_t row = first_row; row < end_row; ++row) {
      const int64_t begin = options_.packing ? order.begin_of(row) : row;
      const int64_t end = options_.packing ? order.ends[row] : row + 1;
      int64_t length = 0;
      for (int64_t place = begin; place < end; ++place) {
        const int64_t sample = order.samples[place];
        slot.samples.push_back(sample);
        length += dataset_.lengths()[sample];
        plan.loss_terms += dataset_.num_labels()[sample];
      }
      if (options_.packing) slot.row_sizes.push_back(end - begin);
      longest = std::max(longest, length);
      plan.cost += length;
      plan.num_samples += end - begin;
    }
    slot.padded_length = divided_up(longest, kPadMultiple) * kPadMultiple;
    if (options_.max_seq_length > 0)
      slot.padded_length = std::max(longest, std::min(slot.padded_length, options_.max_seq_length));
    plan.slots.push_back(std::move(slot));
  }

  Batch load(const Slot& slot) const {
    const int64_t num_rows = slot.num_rows(), width = slot.padded_length;
    TextBatch batch;
    int64_t num_labels = 0, num_tokens = 0;
    batch.tokens_BT = at::empty({num_rows, width}, at::kLong);
    batch.labels_BT = at::empty({num_rows, width}, at::kLong);
    if (options_.packing) batch.positions_BT = at::empty({num_rows, width}, at::kLong);
    // Plain loops: a parallel fill of LibTorch would start a second pool of threads from the
    // reading thread.
    size_t next = 0;
    for (int64_t row = 0; row < num_rows; ++row) {
      int64_t* tokens = batch.tokens_BT.mutable_data_ptr<int64_t>() + row * width;
      int64_t* labels = batch.labels_BT.mutable_data_ptr<int64_t>() + row * width;
      int64_t* positions = batch.positions_BT.defined()
                               ? batch.positions_BT.mutable_data_ptr<int64_t>() + row * width
                               : nullptr;
      std::fill(labels, labels + width, kIgnoredLabel);
      int64_t used = 0;
      for (int64_t n = slot.row_sizes.empty() ? 1 : slot.row_sizes[row]; n > 0; --n) {
        const Tokens sample = dataset_.read(slot.samples[next++]);
        const auto length = static_cast<int64_t>(sample.ids.size());
        LD_CHECK(used + length <= width, "samples longer than their slot");
        std::copy(sample.ids.begin(), sample.ids.end(), tokens + used);
        for (int64_t t = 0; t + 1 < length; ++t) {
          if (sample.loss_mask[t + 1] == 0) continue;
          labels[used + t] = sample.ids[t + 1];
          ++num_labels;
        }
        if (positions) std::iota(positions + used, positions + used + length, int64_t{0});
        used += length;
      }
      std::fill(tokens + used, tokens + width, kPadId);
      if (positions) std::iota(positions + used, positions + width, int64_t{0});
      if (!options_.packing) batch.lengths.push_back(used);
      num_tokens += used;
    }
    return to_batch(batch, num_labels, num_tokens);
  }

  Dataset& dataset_;
  StreamOptions options_;
  int64_t num_rows_ = 0, slots_per_epoch_ = 0;
  mutable std::mutex orders_mutex_;
  mutable std::map<int64_t, std::shared_ptr<const PackedRows>> orders_;  // [epoch]
  std::unique_ptr<Prefetcher> prefetcher_;  // last: its thread uses the members above
};

}  // namespace

std::unique_ptr<BatchStream> make_batch_stream(Dataset& dataset, StreamOptions options) {
  return std::make_unique<DatasetStream>(dataset, std::move(options));
}

}  // namespace lora_dist
