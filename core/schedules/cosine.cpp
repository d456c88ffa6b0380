// Half a cosine from 1 to 0; the same with one restart cycle, and down to a floor.
#include <cmath>

#include "core/schedules/schedule.hpp"

namespace lora_dist {
namespace {

double half_cosine(double progress) { return 0.5 * (1 + std::cos(M_PI * progress)); }

constexpr double kNumCycles = 1;       // transformers' default of cosine_with_restarts
constexpr double kMinimumShare = 0.1;  // floor of cosine_with_min_lr, as a share of learning_rate

}  // namespace

Decay make_cosine_decay(const ScheduleArgs& args) {
  return [args](int64_t steps_done, const std::vector<double>&) {
    return std::max(0.0, half_cosine(args.progress(steps_done)));
  };
}

Decay make_cosine_with_restarts_decay(const ScheduleArgs& args) {
  return [args](int64_t steps_done, const std::vector<double>&) {
    const double progress = args.progress(steps_done);
    return progress >= 1 ? 0.0 : std::max(0.0, half_cosine(std::fmod(kNumCycles * progress, 1.0)));
  };
}

Decay make_cosine_with_min_lr_decay(const ScheduleArgs& args) {
  return [args](int64_t steps_done, const std::vector<double>&) {
    return std::max(0.0,
                    half_cosine(args.progress(steps_done)) * (1 - kMinimumShare) + kMinimumShare);
  };
}

}  // namespace lora_dist
