#include "core/optimizers/optimizer.hpp"

namespace lora_dist {

#define LORA_DIST_OPTIMIZER(name) OptimizerKind name##_optimizer();
#include "core/optimizers/optimizers.def"
#undef LORA_DIST_OPTIMIZER

const Registry<OptimizerKind>& optimizers() {
  static const Registry<OptimizerKind> registry("optimizer", {
#define LORA_DIST_OPTIMIZER(name) {#name, name##_optimizer()},
#include "core/optimizers/optimizers.def"
#undef LORA_DIST_OPTIMIZER
                                                             });
  return registry;
}

}  // namespace lora_dist
