#include <cmath>

#include "core/schedules/schedule.hpp"

namespace lora_dist {

#define LORA_DIST_SCHEDULE(name, has_warmup) Decay make_##name##_decay(const ScheduleArgs&);
#include "core/schedules/schedules.def"
#undef LORA_DIST_SCHEDULE

const Registry<ScheduleEntry>& schedules() {
  static const Registry<ScheduleEntry> registry("scheduler", {
#define LORA_DIST_SCHEDULE(name, has_warmup) \
  {#name, ScheduleEntry{make_##name##_decay, has_warmup}},
#include "core/schedules/schedules.def"
#undef LORA_DIST_SCHEDULE
                                                             });
  return registry;
}

Schedule make_schedule(const StepsConfig& config, int64_t num_steps) {
  const ScheduleEntry& entry = schedules().at(config.scheduler);
  ScheduleArgs args{.num_steps = num_steps, .learning_rate = config.learning_rate};
  if (entry.has_warmup) {
    args.warmup_steps =
        config.warmup_steps > 0
            ? config.warmup_steps
            : static_cast<int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(num_steps)));
  }
  return
      [args, decay = entry.make(args)](int64_t steps_done, const std::vector<double>& eval_losses) {
        if (steps_done < args.warmup_steps)
          return args.learning_rate * static_cast<double>(steps_done) /
                 static_cast<double>(args.warmup_steps);
        return args.learning_rate * decay(steps_done, eval_losses);
      };
}

}  // namespace lora_dist
