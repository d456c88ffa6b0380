#include <sched.h>

#include <algorithm>
#include <thread>

#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {

int num_available_cores() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return std::max(1, CPU_COUNT(&mask));
  return static_cast<int>(
      std::max(1u, std::thread::hardware_concurrency()));  // more cores than a mask holds
}

int share_of_cores(const WorldInfo& world) {
  // Slurm binds a task to the cores it asked for: the mask is then one rank's and not the host's.
  const std::optional<int> own =
      world.launcher == "srun" ? integer_variable("SLURM_CPUS_PER_TASK") : std::nullopt;
  return std::max(
      1, std::min(own.value_or(num_available_cores() / std::max(1, world.local_world_size)),
                  num_available_cores()));
}

}  // namespace lora_dist
