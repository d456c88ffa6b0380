#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <thread>

#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

int cores_of_mask() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return CPU_COUNT(&mask);
  return static_cast<int>(std::thread::hardware_concurrency());  // more cores than a mask holds
}

}  // namespace

int cores_of_quota(std::istream& cpu_max) {
  double quota_us = 0, period_us = 0;
  if (!(cpu_max >> quota_us >> period_us) || period_us <= 0)
    return std::numeric_limits<int>::max();  // "max 100000", or no such file
  return std::max(1, static_cast<int>(quota_us / period_us));
}

int num_available_cores() {
  // A container's limit is a quota of time, which no mask shows.
  std::ifstream cpu_max("/sys/fs/cgroup/cpu.max");
  return std::max(1, std::min(cores_of_mask(), cores_of_quota(cpu_max)));
}

int share_of_cores(const WorldInfo& world) {
  // Slurm binds a task to the cores it asked for: the mask is then one rank's and not the host's.
  const std::optional<int> own =
      world.launcher == "srun" ? integer_variable("SLURM_CPUS_PER_TASK") : std::nullopt;
  return std::max(
      1, std::min(own.value_or(num_available_cores() / std::max(1, world.local_world_size)),
                  num_available_cores()));
}

std::optional<int> threads_of_user(const WorldInfo& world) {
  const std::optional<std::string> text = variable("OMP_NUM_THREADS");
  if (!text || world.launcher == "torchrun" || world.launcher == "env") return std::nullopt;
  int threads = 0;  // of nested regions the first: "4,2"
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), threads);
  const bool is_whole = error == std::errc() && (end == text->data() + text->size() || *end == ',');
  return is_whole && threads > 0 ? std::optional<int>(threads) : std::nullopt;
}

}  // namespace lora_dist
