// The peak rate, then half a cosine to 0 over the last tenth of the steps.
#include <cmath>

#include "core/schedules/schedule.hpp"

namespace lora_dist {

Decay make_warmup_stable_decay_decay(const ScheduleArgs& args) {
  const int64_t decay_steps = std::max<int64_t>(1, args.num_steps / 10);
  return [args, decay_steps](int64_t steps_done, const std::vector<double>&) {
    const int64_t into_decay = steps_done - (args.num_steps - decay_steps);
    if (into_decay < 0) return 1.0;
    const double progress = static_cast<double>(into_decay) / static_cast<double>(decay_steps);
    return progress >= 1 ? 0.0 : 0.5 * (1 + std::cos(M_PI * progress));
  };
}

}  // namespace lora_dist
