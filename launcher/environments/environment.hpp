// The only place that reads the environment: where this rank is, and how ranks are started.
#pragma once

#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"
#include "core/ranks/world.hpp"
#include "dist/backends/backend.hpp"

namespace lora_dist {

/// One way to be started: answers nothing where its variables are not set. Errors  ConfigError: set
/// but inconsistent.
using EnvironmentDetector = std::function<std::optional<WorldInfo>()>;
const Registry<EnvironmentDetector>& environments();  // in the order of detection

/// Design 1.6. The first detector that answers with several ranks, since a launcher that started
/// one process (`srun -n 1`, leftovers of a shell) may have started the one that matters; else the
/// first that answers at all.
///
/// Errors  ConfigError: variables that are set but half, contradict each other, or are those of a
/// launcher whose ranks cannot be joined.
WorldInfo detect_world();

/// What a person who asked Slurm for several tasks should know when this process is alone; empty
/// where there is nothing to say.
std::string word_about_unused_tasks(const WorldInfo& world);

/// The job of a batch system that this process belongs to, and how often that has put it back into
/// its queue. Nothing outside of jobs, and where the system does not say.
struct BatchJob {
  std::string id;
  int64_t start = 0;
};
std::optional<BatchJob> batch_job();

/// Name of the backend that `auto` stands for: local when alone, nccl where it can be had, else
/// mpi where the launcher brings it along (mpirun, srun --mpi=pmix), else gloo. A world of one is
/// `local` whatever was asked for, so that MPI is never touched.
///
/// Errors  ConfigError: mpi was asked for and the launcher does not bring it along.
std::string choose_backend(const WorldInfo& world, const std::string& asked,
                           bool nccl_can_be_had = false);

/// Limits of the config, and what gloo needs to know from the environment.
BackendOptions backend_options(const WorldInfo& world, const DistributionConfig& config);

/// For ranks that have no communicator yet, and perhaps a default config only: by MPI wherever the
/// launcher brings it along.
BackendOptions rendezvous_options(const WorldInfo& world, const DistributionConfig& config);

/// Cores (hardware threads) that this process may keep busy: its mask, and its cgroup's quota.
int num_available_cores();
/// Whole cores of a cgroup's cpu.max, at least 1; the largest number where it sets no limit.
int cores_of_quota(std::istream& cpu_max);
/// The part of them that is this rank's. At least 1.
int share_of_cores(const WorldInfo& world);
/// OMP_NUM_THREADS of the user. Launchers of PyTorch set it to 1 by themselves: of theirs nothing
/// is believed, and nothing of what libgomp would not read either.
std::optional<int> threads_of_user(const WorldInfo& world);

struct LaunchRequest {
  int num_ranks = 0;     // 0: one for each slot of the hosts
  std::string hosts;     // "a:8,b:8", empty: this host
  std::string hostfile;  // path, or empty
};
/// Whether this process is to start ranks; false where it is one of as many ranks already.
///
/// Errors  ConfigError: it was started as one of another number of ranks, or hosts are named where
/// a launcher has chosen them.
bool asks_for_ranks(const LaunchRequest& request, const WorldInfo& world);

/// Runs this program's command line (`arguments`, argv without argv[0]) again under mpirun, without
/// --ranks, --hosts and --hostfile; waits and returns the ranks' exit code. TERM, INT and HUP reach
/// the ranks as USR1, a stop request, because mpirun's own TERM leaves them one second; the second
/// TERM or INT ends mpirun at once. 130 instead of 75 when the stop was asked for with INT.
///
/// Errors  ConfigError: mpirun not found, with what to install; hosts that it cannot use.
///         CommError: hosts that it cannot reach.
int run_under_mpirun(const LaunchRequest& request, const std::vector<std::string>& arguments);

/// What run_under_mpirun looks up before it builds a command.
struct LaunchSite {
  std::string program;             // path of this binary
  int num_cores = 1;               // of this host
  bool is_root = false;            // mpirun refuses root without a word
  bool hosts_are_managed = false;  // Slurm or the MPI Operator tells mpirun the hosts
};
/// The words that run_under_mpirun executes.
std::vector<std::string> mpirun_command(const LaunchRequest& request, const LaunchSite& site,
                                        const std::vector<std::string>& arguments);

}  // namespace lora_dist
