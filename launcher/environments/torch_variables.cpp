#include "launcher/environments/torch_variables.hpp"

#include "core/base/error.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's
constexpr int kLargestPort = 65535;

std::string master_address() {
  if (const std::optional<std::string> address = variable("MASTER_ADDR")) return *address;
  throw ConfigError({.where = "environment",
                     .found = "RANK and WORLD_SIZE are set but MASTER_ADDR is not",
                     .expected = {},
                     .fix = "start with `torchrun --no-python`, set MASTER_ADDR to rank 0's host, "
                            "or unset RANK and WORLD_SIZE"});
}

}  // namespace

int master_port() {
  const int port = integer_variable("MASTER_PORT").value_or(kDefaultPort);
  if (port > 0 && port <= kLargestPort) return port;
  throw ConfigError({.where = "environment",
                     .found = fmt::format("MASTER_PORT {}", port),
                     .expected = fmt::format("1 to {}", kLargestPort),
                     .fix = "set it to a free port of rank 0's host, the same on all ranks"});
}

WorldInfo world_of_torch_variables(const char* launcher) {
  WorldInfo world;
  world.launcher = launcher;
  world.host = host_name();
  world.rank = required_integer("RANK", "WORLD_SIZE");
  world.world_size = required_integer("WORLD_SIZE", "RANK");
  require_rank_below("RANK", world.rank, "WORLD_SIZE", world.world_size);
  if (world.world_size == 1) return world;
  const std::optional<int> local_rank = integer_variable("LOCAL_RANK");
  const std::optional<int> local_size = integer_variable("LOCAL_WORLD_SIZE");
  world.knows_neighbours = local_rank && local_size;
  world.local_rank = local_rank.value_or(0);
  world.local_world_size = local_size.value_or(world.world_size);
  require_rank_below("LOCAL_RANK", world.local_rank, local_size ? "LOCAL_WORLD_SIZE" : "WORLD_SIZE",
                     world.local_world_size);
  world.master_addr = master_address();
  world.master_port = master_port();
  return world;
}

}  // namespace lora_dist
