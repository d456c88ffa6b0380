#include "launcher/run/world.hpp"

#include "core/error.hpp"
#include "core/log.hpp"
#include "dist/backends/backend.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {
namespace {

// Every rank must run the same thing. Rank 0's config counts; the first key that differs is named.
void compare_configs(const Config& config, Communicator& world) {
  const std::vector<std::string> all = all_gather_text(world, resolved_yaml(config));
  for (int rank = 1; rank < world.world_size(); ++rank) {
    if (all[rank] == all[0]) continue;
    size_t place = 0;
    while (place < all[0].size() && place < all[rank].size() && all[0][place] == all[rank][place])
      ++place;
    const auto line_at = [place](const std::string& text) {
      const size_t begin = text.rfind('\n', place == 0 ? 0 : place - 1) + 1;
      return text.substr(begin, text.find('\n', place) - begin);
    };
    throw ConfigError({.where = fmt::format("rank {}", rank),
                       .found = fmt::format("its config has '{}', rank 0 has '{}'",
                                            line_at(all[rank]), line_at(all[0])),
                       .expected = {},
                       .fix = "start all ranks with one config"});
  }
}

}  // namespace

std::unique_ptr<Communicator> join_world(const Config& config, const WorldInfo& world) {
  const std::string backend = choose_backend(world, config.distribution.backend);
  std::unique_ptr<Communicator> communicator =
      backends().at(backend)(backend_options(world, config.distribution));
  if (world.world_size > 1) compare_configs(config, *communicator);
  return communicator;
}

}  // namespace lora_dist
