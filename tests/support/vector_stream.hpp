// A BatchStream over batches held in memory: every step is all of them, one slot each.
#pragma once

#include <utility>
#include <vector>

#include "core/sockets/batch_stream.hpp"

namespace lora_dist {

class VectorStream final : public BatchStream {
 public:
  VectorStream(std::vector<Batch> batches, int64_t num_steps)
      : batches_(std::move(batches)), num_steps_(num_steps) {}

  int64_t steps_per_epoch() const override { return 1; }
  int64_t num_steps() const override { return num_steps_; }
  int64_t num_samples() const override { return static_cast<int64_t>(batches_.size()); }

  StepPlan plan(int64_t step) const override {
    StepPlan plan{.step = step, .epoch = static_cast<double>(step)};
    for (size_t i = 0; i < batches_.size(); ++i) {
      plan.loss_terms += batches_[i].loss_terms;
      plan.cost += batches_[i].cost;
      plan.num_samples += 1;
      plan.slots.push_back(
          {.index = static_cast<int64_t>(i), .samples = {static_cast<int64_t>(i)}});
    }
    return plan;
  }

  Batch read(const StepPlan&, const Slot& slot) override { return batches_[slot.index]; }

 private:
  std::vector<Batch> batches_;
  int64_t num_steps_;
};

}  // namespace lora_dist
