// A straight line from 1 to 0, and transformers' polynomial of power 1 down to 1e-7.
#include "core/schedules/schedule.hpp"

namespace lora_dist {

Decay make_linear_decay(const ScheduleArgs& args) {
  return [args](int64_t steps_done, const std::vector<double>&) {
    return std::max(0.0, 1 - args.progress(steps_done));
  };
}

Decay make_polynomial_decay(const ScheduleArgs& args) {
  constexpr double kEndRate = 1e-7;
  return [args](int64_t steps_done, const std::vector<double>&) {
    if (steps_done > args.num_steps) return kEndRate / args.learning_rate;
    return ((args.learning_rate - kEndRate) * (1 - args.progress(steps_done)) + kEndRate) /
           args.learning_rate;
  };
}

}  // namespace lora_dist
