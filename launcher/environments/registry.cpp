#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

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

namespace {

/// Variables in torch's words beside a launcher's own name the same place, or somebody started one
/// world inside another.
void require_agreement(const WorldInfo& world) {
  const std::optional<int> size = integer_variable("WORLD_SIZE"), rank = integer_variable("RANK");
  if (!rank || size.value_or(1) == 1) return;
  if (rank == world.rank && size == world.world_size) return;
  throw ConfigError(
      {.where = "environment",
       .found = fmt::format("{} says rank {} of {}, RANK and WORLD_SIZE say rank {} of {}",
                            world.launcher, world.rank, world.world_size, *rank, *size),
       .expected = {},
       .fix = fmt::format("unset RANK and WORLD_SIZE, or start without {}", world.launcher)});
}

}  // namespace

WorldInfo detect_world() {
  std::optional<WorldInfo> first;
  for (const std::string_view name : environments().names()) {
    const std::optional<WorldInfo> world = environments().at(name)();
    if (world && world->world_size > 1) {
      if (name != "torchrun" && name != "env") require_agreement(*world);
      return *world;
    }
    if (!first) first = world;
  }
  LD_CHECK(first, "'alone' always answers");
  return *first;
}

}  // namespace lora_dist
