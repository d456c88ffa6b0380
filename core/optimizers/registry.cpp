#include "core/optimizers/optimizer.hpp"

namespace lora_dist {

#define LORA_DIST_OPTIMIZER(name) std::unique_ptr<Optimizer> make_##name##_optimizer(OptimizerArgs);
#include "core/optimizers/optimizers.def"
#undef LORA_DIST_OPTIMIZER

const Registry<OptimizerFactory>& optimizers() {
  static const Registry<OptimizerFactory> registry("optimizer", {
#define LORA_DIST_OPTIMIZER(name) {#name, make_##name##_optimizer},
#include "core/optimizers/optimizers.def"
#undef LORA_DIST_OPTIMIZER
                                                                });
  return registry;
}

}  // namespace lora_dist
