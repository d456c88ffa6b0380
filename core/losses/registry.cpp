#include "core/losses/loss.hpp"

namespace lora_dist {

#define LORA_DIST_LOSS(name) std::unique_ptr<Loss> make_##name##_loss();
#include "core/losses/losses.def"
#undef LORA_DIST_LOSS

const Registry<LossFactory>& losses() {
  static const Registry<LossFactory> registry("loss", {
#define LORA_DIST_LOSS(name) {#name, make_##name##_loss},
#include "core/losses/losses.def"
#undef LORA_DIST_LOSS
                                                      });
  return registry;
}

}  // namespace lora_dist
