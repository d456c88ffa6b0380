// A rank of Open MPI's mpirun, on this host or in an MPIJob. MPI itself is not called here.
#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {

std::optional<WorldInfo> detect_mpirun() {
  const std::optional<int> rank = integer_variable("OMPI_COMM_WORLD_RANK");
  if (!rank) return std::nullopt;
  WorldInfo world;
  world.launcher = "mpirun";
  world.host = host_name();
  world.rank = *rank;
  world.world_size = required_integer("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  world.local_rank = required_integer("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK");
  world.local_world_size = required_integer("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_RANK");
  require_rank_below("OMPI_COMM_WORLD_RANK", world.rank, "size", world.world_size);
  require_rank_below("OMPI_COMM_WORLD_LOCAL_RANK", world.local_rank, "local size",
                     world.local_world_size);
  return world;
}

}  // namespace lora_dist
