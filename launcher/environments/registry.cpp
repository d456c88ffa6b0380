#include "core/error.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {

#define LORA_DIST_ENVIRONMENT(name) std::optional<WorldInfo> detect_##name();
#include "launcher/environments/environments.def"
#undef LORA_DIST_ENVIRONMENT

const Registry<EnvironmentDetector>& environments() {
  static const Registry<EnvironmentDetector> registry("environment", {
#define LORA_DIST_ENVIRONMENT(name) {#name, detect_##name},
#include "launcher/environments/environments.def"
#undef LORA_DIST_ENVIRONMENT
                                                                     });
  return registry;
}

WorldInfo detect_world() {
  for (const std::string_view name : environments().names())
    if (const std::optional<WorldInfo> world = environments().at(name)()) return *world;
  LD_CHECK(false, "'alone' always answers");
}

}  // namespace lora_dist
