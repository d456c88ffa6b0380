// The peak rate throughout, with and without warm-up.
#include "core/schedules/schedule.hpp"

namespace lora_dist {

Decay make_constant_decay(const ScheduleArgs&) {
  return [](int64_t, const std::vector<double>&) { return 1.0; };
}

Decay make_constant_with_warmup_decay(const ScheduleArgs& args) {
  return make_constant_decay(args);
}

}  // namespace lora_dist
