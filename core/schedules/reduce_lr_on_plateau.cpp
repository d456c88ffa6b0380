// A tenth of the rate whenever the evaluation loss has not improved for ten evaluations (torch's
// ReduceLROnPlateau with its defaults). A function of the evaluations so far, so that a resumed run
// needs no state.
#include <cmath>
#include <limits>

#include "core/schedules/schedule.hpp"

namespace lora_dist {

Decay make_reduce_lr_on_plateau_decay(const ScheduleArgs&) {
  constexpr double kFactor = 0.1, kThreshold = 1e-4;
  constexpr int kPatience = 10;
  return [](int64_t, const std::vector<double>& eval_losses) {
    double best = std::numeric_limits<double>::infinity(), factor = 1;
    int bad = 0;
    for (const double loss : eval_losses) {
      if (loss < best * (1 - kThreshold)) {
        best = loss;
        bad = 0;
      } else if (++bad > kPatience) {
        factor *= kFactor;
        bad = 0;
      }
    }
    return factor;
  };
}

}  // namespace lora_dist
