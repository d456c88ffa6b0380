#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr double kOneHostTimeoutS = 10, kSeveralHostsTimeoutS = 60;  // design 1.3, comm_timeout_s

/// mpirun always does; srun where it was asked to, as `srun --mpi=pmix`.
bool launcher_brings_mpi(const WorldInfo& world) {
  return world.launcher == "mpirun" || (world.launcher == "srun" && variable("PMIX_RANK"));
}

/// MPI itself would end the process here, with twenty lines.
void require_mpi(const WorldInfo& world) {
  if (launcher_brings_mpi(world)) return;
  throw ConfigError(
      {.where = "backend",
       .found = fmt::format("'mpi', but {} did not start these ranks for MPI", world.launcher),
       .expected = {},
       .fix = "start with mpirun or `srun --mpi=pmix`, or use backend: gloo"});
}

}  // namespace

std::string choose_backend(const WorldInfo& world, const std::string& asked, bool nccl_can_be_had) {
  if (world.world_size == 1) return "local";
  if (asked == "mpi") require_mpi(world);
  if (asked != "auto") return asked;
  if (nccl_can_be_had) return "nccl";
  return launcher_brings_mpi(world) ? "mpi" : "gloo";
}

BackendOptions backend_options(const WorldInfo& world, const DistributionConfig& config) {
  BackendOptions options;
  options.world = world;
  const bool one_host = world.local_world_size == world.world_size;
  options.timeout_s = config.comm_timeout_s > 0 ? config.comm_timeout_s
                      : one_host                ? kOneHostTimeoutS
                                                : kSeveralHostsTimeoutS;
  options.startup_timeout_s = config.startup_timeout_s;
  // A pod's name is known once the pod runs, and pods start in any order.
  options.names_come_late = variable("KUBERNETES_SERVICE_HOST").has_value();
  // Both of these take lists; one device is enough for us.
  const std::string interfaces = variable("GLOO_SOCKET_IFNAME").value_or("");
  options.network_interface = interfaces.substr(0, interfaces.find(','));
  // torchrun's agent keeps its store open for the ranks; each restart of them starts under keys of
  // its own.
  options.store_is_served = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  options.store_prefix =
      fmt::format("/lora-dist/{}", variable("TORCHELASTIC_RESTART_COUNT").value_or("0"));
  return options;
}

BackendOptions rendezvous_options(const WorldInfo& world, const DistributionConfig& config) {
  BackendOptions options = backend_options(world, config);
  if (launcher_brings_mpi(world)) options.world.master_addr.clear();
  return options;
}

}  // namespace lora_dist
