#include "core/training/held_out.hpp"

#include <algorithm>
#include <cmath>

namespace lora_dist {

// Exact in any order of addition between ranks: each place is nonzero on one rank only. The place
// behind the losses counts the ranks that were asked to stop.
SlotLosses sum_over_slots(Communicator& world, std::vector<double> losses, bool stop_asked) {
  const auto num_slots = static_cast<int64_t>(losses.size());
  losses.push_back(stop_asked ? 1 : 0);
  at::Tensor places = at::tensor(losses, at::kDouble);
  world.all_reduce(places, {.name = "losses"}).wait();
  const double* values = places.const_data_ptr<double>();
  SlotLosses result{.stop_asked = values[num_slots] > 0};
  for (int64_t slot = 0; slot < num_slots; ++slot) result.sum += values[slot];
  return result;
}

size_t num_rounds(const StepPlan& plan, int world_size) {
  return plan.slots_of(/*rank=*/0, world_size).size();  // no rank has more
}

HeldOutLoss held_out_loss(Communicator& world, Task& task, BatchStream& stream, uint64_t seed,
                          const std::atomic<bool>* stop_requested) {
  HeldOutLoss result;
  for (int64_t step = 1; step <= stream.steps_per_epoch(); ++step) {
    const StepPlan plan = stream.plan(step);
    const auto slots = plan.slots_of(world.rank(), world.world_size());
    std::vector<double> losses(plan.slots.size(), 0.0);
    for (const Slot& slot : slots) {
      losses[slot.index] =
          task.loss(stream.read(plan, slot), {.seed = seed,
                                              .step = static_cast<uint32_t>(step),
                                              .slot = static_cast<uint32_t>(slot.index)});
    }
    for (size_t round = slots.size(); round < num_rounds(plan, world.world_size()); ++round)
      task.accompany(/*with_gradients=*/false, {});
    const SlotLosses step_losses =
        sum_over_slots(world, std::move(losses), stop_requested && stop_requested->load());
    result.sum += step_losses.sum;
    result.stop_asked = result.stop_asked || step_losses.stop_asked;
    result.loss_terms += plan.loss_terms;
    result.num_samples += plan.num_samples;
  }
  return result;
}

void HeldOutHistory::add(int64_t step, double loss) {
  longest_row_before_ = std::max(longest_row_before_, rises_in_a_row_);
  rises_in_a_row_ = !losses_.empty() && loss > losses_.back() ? rises_in_a_row_ + 1 : 0;
  losses_.push_back(loss);
  if (std::isfinite(loss) && (best_step_ == 0 || loss < best_loss_)) {
    best_step_ = step;
    best_loss_ = loss;
    evaluations_since_best_ = 0;
  } else {
    ++evaluations_since_best_;
  }
}

bool HeldOutHistory::begins_to_rise() const {
  return rises_in_a_row_ == kRisesOfMemorising && longest_row_before_ < kRisesOfMemorising;
}

}  // namespace lora_dist
