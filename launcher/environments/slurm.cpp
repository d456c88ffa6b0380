// A rank of a Slurm step: `srun --mpi=pmix lora-dist train ...`.
//
// A batch script and an interactive shell see SLURM_PROCID=0 too, but no step of ours: they are
// "alone", and there lora-dist is the supervisor that starts mpirun or is asked to run under srun.
#include <algorithm>

#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/slurm_lists.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

/// Steps that Slurm makes by itself (batch, interactive, extern) have ids near 2^32 and no tasks of
/// ours.
bool inside_a_step() {
  const std::optional<std::string> step_id = variable("SLURM_STEP_ID");
  return step_id && step_id->size() < 10;
}

/// Tasks on this host, out of "4(x2),3"; one host where Slurm does not say.
int local_tasks(int num_tasks) {
  std::optional<std::string> tasks = variable("SLURM_STEP_TASKS_PER_NODE");
  if (!tasks) tasks = variable("SLURM_TASKS_PER_NODE");
  const int host = integer_variable("SLURM_NODEID").value_or(0);
  return tasks ? tasks_on_host(*tasks, host).value_or(num_tasks) : num_tasks;
}

/// A port that ranks of one job agree on and neighbours on a shared host seldom share. The way
/// scripts for torchrun do it.
int port_of_job() { return 10000 + integer_variable("SLURM_JOB_ID").value_or(0) % 10000; }

}  // namespace

std::optional<BatchJob> batch_job() {
  const std::optional<std::string> id = variable("SLURM_JOB_ID");
  if (!id) return std::nullopt;
  return BatchJob{.id = "slurm " + *id,
                  .start = integer_variable("SLURM_RESTART_COUNT").value_or(0)};
}

std::optional<WorldInfo> detect_slurm() {
  const std::optional<int> rank = integer_variable("SLURM_PROCID");
  if (!rank || !inside_a_step()) return std::nullopt;
  WorldInfo world;
  world.launcher = "srun";
  world.host = host_name();
  world.rank = *rank;
  const std::optional<int> step_tasks = integer_variable("SLURM_STEP_NUM_TASKS");
  world.world_size = step_tasks ? *step_tasks : required_integer("SLURM_NTASKS", "SLURM_PROCID");
  world.local_rank = required_integer("SLURM_LOCALID", "SLURM_PROCID");
  world.local_world_size = local_tasks(world.world_size);
  std::optional<std::string> hosts = variable("SLURM_STEP_NODELIST");
  if (!hosts) hosts = variable("SLURM_NODELIST");
  world.master_addr = hosts ? first_host(*hosts) : world.host;
  world.master_port = port_of_job();
  require_rank_below("SLURM_PROCID", world.rank, "SLURM_NTASKS", world.world_size);
  require_rank_below("SLURM_LOCALID", world.local_rank, "tasks on this host",
                     world.local_world_size);
  return world;
}

std::string word_about_unused_tasks(const WorldInfo& world) {
  if (world.launcher != "alone" || inside_a_step() || !variable("SLURM_JOB_ID")) return {};
  const std::optional<int> tasks = integer_variable("SLURM_NTASKS");
  if (tasks.value_or(1) == 1) return {};
  return fmt::format(
      "this Slurm job has {} tasks, but the program was started without srun and trains with one "
      "process; write `srun lora-dist ...` or `lora-dist ... --ranks {}`",
      *tasks, *tasks);
}

}  // namespace lora_dist
