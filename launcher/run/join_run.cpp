#include <filesystem>

#include <ATen/Parallel.h>

#include "core/base/log.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/all_ranks.hpp"
#include "launcher/run/device.hpp"
#include "launcher/run/run_folder.hpp"
#include "launcher/run/stages.hpp"
#include "launcher/run/world.hpp"
#include "launcher/threads.hpp"

namespace lora_dist {
namespace {

// The folder is this run's from here on, or it stays as it is. A run that is continued with
// another number of ranks keeps its global batch.
void claim_folder(JoinedRun& run, const TrainOptions& options) {
  const std::vector<std::string> told = on_all_ranks(*run.communicator, [&] {
    if (run.world.rank != 0) return std::string();
    make_folders(run.config.state.output_dir);
    rehearse_writing(run.config.state.output_dir);
    run.claim = std::make_unique<RunClaim>(run.asked, options.allowed_changes);
    if (run.is_dry) {
      run.claim->look();
    } else {
      run.claim->open(options.job);
    }
    const std::optional<int64_t> kept = run.claim->global_batch_size_of_run();
    return kept ? fmt::format("{}", *kept) : std::string();
  });
  if (told.front().empty()) return;
  const int64_t kept = std::stoll(told.front());
  const int64_t usual =
      run.asked.steps.batch_size * slots_per_step(run.asked, run.world.world_size);
  if (kept == usual) return;
  run.config.steps.global_batch_size = kept;
  run.config.steps.gradient_accumulation_steps = 1;
  require_work_for_ranks(run.config, run.world.world_size);
  log_info(fmt::format("{}: its run goes on with the {} samples per step that it began with",
                       folder_label(run.config.state.output_dir), kept));
}

void choose_sharding(JoinedRun& run) {
  const HostLayout ranks = HostLayout::of(run.communicator->hosts());
  run.sharding = resolve_sharding(run.config.distribution.sharding, !run.device.is_cpu(), ranks);
  if (run.sharding == Sharding::hybrid)
    run.host = run.communicator->split(ranks.host_of[run.communicator->rank()], {.name = "host"});
}

}  // namespace

JoinedRun join_run(const Config& config, const WorldInfo& world, const TrainOptions& options,
                   bool is_dry) {
  JoinedRun run{.asked = config, .config = config, .world = world, .is_dry = is_dry};
  at::set_num_threads(choose_threads(world, config.distribution.threads_per_rank));
  run.device = choose_device(config.distribution.device, world.local_rank);
  run.communicator = join_world(config, world, run.device);
  claim_folder(run, options);
  choose_sharding(run);
  return run;
}

}  // namespace lora_dist
