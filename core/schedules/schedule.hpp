// Learning rate as a pure function of the step (and, for one schedule, of the evaluations so far):
// nothing to save, nothing that depends on the world size.
#pragma once

#include <functional>
#include <vector>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"

namespace lora_dist {

/// Factor on the peak learning rate for the update that follows `steps_done` completed ones,
/// warm-up over.
struct ScheduleArgs {
  int64_t warmup_steps = 0;
  int64_t num_steps = 0;  // of the whole run
  double learning_rate = 1e-4;

  /// Share of the steps after warm-up that are done, 0 to 1 and beyond.
  double progress(int64_t steps_done) const {
    return static_cast<double>(steps_done - warmup_steps) /
           static_cast<double>(std::max<int64_t>(1, num_steps - warmup_steps));
  }
};
/// `eval_losses` are those measured before this update, in order.
using Decay = std::function<double(int64_t steps_done, const std::vector<double>& eval_losses)>;
struct ScheduleEntry {
  std::function<Decay(const ScheduleArgs&)> make;
  bool has_warmup = true;
};
const Registry<ScheduleEntry>& schedules();

/// Learning rate of an update.
using Schedule = std::function<double(int64_t steps_done, const std::vector<double>& eval_losses)>;

/// The schedule that the config names, with linear warm-up: warmup_steps wins, else
/// ceil(warmup_ratio * num_steps).
Schedule make_schedule(const StepsConfig& config, int64_t num_steps);

}  // namespace lora_dist
