// 1 / sqrt(step), joined to the warm-up; 10,000 steps of time scale without one.
#include <cmath>

#include "core/schedules/schedule.hpp"

namespace lora_dist {

Decay make_inverse_sqrt_decay(const ScheduleArgs& args) {
  const double timescale = args.warmup_steps > 0 ? static_cast<double>(args.warmup_steps) : 10000.0;
  return [args, timescale](int64_t steps_done, const std::vector<double>&) {
    const double shift = timescale - static_cast<double>(args.warmup_steps);
    return 1 / std::sqrt((static_cast<double>(steps_done) + shift) / timescale);
  };
}

}  // namespace lora_dist
