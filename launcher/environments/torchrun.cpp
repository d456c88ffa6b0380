// A rank of torchrun (`torchrun --no-python ... lora-dist train ...`), or of anything that sets the
// same variables.
#include "core/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's

std::string master_address() {
  if (const std::optional<std::string> address = variable("MASTER_ADDR")) return *address;
  throw ConfigError({.where = "environment",
                     .found = "RANK and WORLD_SIZE are set but MASTER_ADDR is not",
                     .expected = {},
                     .fix = "start with `torchrun --no-python`, or unset RANK and WORLD_SIZE"});
}

}  // namespace

std::optional<WorldInfo> detect_torchrun() {
  // RANK alone is a word that other programs use.
  const std::optional<int> rank = integer_variable("RANK");
  const std::optional<int> world_size = rank ? integer_variable("WORLD_SIZE") : std::nullopt;
  if (!world_size) return std::nullopt;
  WorldInfo world;
  world.launcher = "torchrun";
  world.host = host_name();
  world.rank = *rank;
  world.world_size = *world_size;
  world.local_rank = required_integer("LOCAL_RANK", "RANK");
  world.local_world_size = integer_variable("LOCAL_WORLD_SIZE").value_or(world.world_size);
  world.master_addr = master_address();
  world.master_port = integer_variable("MASTER_PORT").value_or(kDefaultPort);
  require_rank_below("RANK", world.rank, "WORLD_SIZE", world.world_size);
  require_rank_below("LOCAL_RANK", world.local_rank, "LOCAL_WORLD_SIZE", world.local_world_size);
  return world;
}

}  // namespace lora_dist
