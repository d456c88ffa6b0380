// A rank of a launcher that is not Open MPI's: MPICH, Intel MPI, MVAPICH2, Cray, IBM, Flux,
// Horovod. Their MPI cannot be joined, which this program would need in their own build; over gloo
// the ranks need a meeting place, MASTER_ADDR. Without one they are refused: each of them alone
// would train the same run into the same folder.
#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/torch_variables.hpp"
#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

/// The variables of one family of launchers; null where it sets none of the kind.
struct Family {
  const char *rank, *size, *local_rank, *local_size;
};

constexpr Family kFamilies[] = {
    {"JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK",
     "JSM_NAMESPACE_LOCAL_SIZE"},                                         // IBM's jsrun
    {"FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID", nullptr},   // flux run
    {"PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"},  // Cray's mpiexec
    {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK",
     "MV2_COMM_WORLD_LOCAL_SIZE"},  // mpirun_rsh of MVAPICH2
    {"HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},  // Hydra: MPICH, Intel MPI
    {"PMI_ID", "PMI_SIZE", nullptr, nullptr},                        // Hydra over a port
    {"ALPS_APP_PE", nullptr, nullptr, nullptr},                      // Cray's aprun
    {"PMIX_RANK", nullptr, nullptr, nullptr},  // prun, and whatever speaks PMIx
};

const Family* find_family() {
  for (const Family& family : kFamilies)
    if (variable(family.rank)) return &family;
  return nullptr;
}

/// Slurm speaks PMI to its own ranks as well (`srun --mpi=pmi2`, `--mpi=pmix`). A process manager
/// that Slurm merely carries to its hosts gives its ranks other numbers.
bool is_of_slurm_step(const Family& family, std::optional<int> size) {
  if (integer_variable("SLURM_PROCID") != integer_variable(family.rank)) return false;
  return !size || integer_variable("SLURM_STEP_NUM_TASKS") == size;
}

[[noreturn]] void refuse_family(const Family& family, const std::string& found) {
  throw ConfigError(
      {.where = "environment",
       .found = fmt::format("{}: {}", family.rank, found),
       .expected = {},
       .fix = "start with Open MPI's mpirun, `srun` or `torchrun --no-python`, or set MASTER_ADDR "
              "and MASTER_PORT (and RANK and WORLD_SIZE) for all ranks"});
}

}  // namespace

std::optional<WorldInfo> detect_other_mpi() {
  const Family* family = find_family();
  // Open MPI sets some of these variables beside its own.
  if (!family || variable("OMPI_COMM_WORLD_RANK")) return std::nullopt;
  const std::optional<int> size = family->size ? integer_variable(family->size) : std::nullopt;
  if (size == 1 || is_of_slurm_step(*family, size)) return std::nullopt;
  const bool is_told_in_torch_words =
      variable("RANK") && integer_variable("WORLD_SIZE").value_or(1) > 1;
  if (is_told_in_torch_words) return std::nullopt;
  if (!size)
    refuse_family(*family, fmt::format("rank {} of a launcher that does not say how many there are",
                                       *variable(family->rank)));
  WorldInfo world;
  world.launcher = "mpiexec";
  world.host = host_name();
  world.rank = *integer_variable(family->rank);
  world.world_size = *size;
  require_rank_below(family->rank, world.rank, family->size, world.world_size);
  if (!variable("MASTER_ADDR"))
    refuse_family(*family,
                  fmt::format("rank {} of {} of a launcher that is not Open MPI's, and MASTER_ADDR "
                              "is not set",
                              world.rank, world.world_size));
  world.master_addr = *variable("MASTER_ADDR");
  world.master_port = master_port();
  const auto local = [](const char* name) { return name ? integer_variable(name) : std::nullopt; };
  const std::optional<int> local_rank = local(family->local_rank);
  const std::optional<int> local_size = local(family->local_size);
  world.knows_neighbours = local_rank && local_size && *local_rank < *local_size;
  world.local_rank = local_rank.value_or(0);
  world.local_world_size = world.knows_neighbours ? *local_size : world.world_size;
  return world;
}

}  // namespace lora_dist
