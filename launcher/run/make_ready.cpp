#include <algorithm>
#include <filesystem>

#include <ATen/Parallel.h>

#include "core/base/log.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/ops/cuda/rows.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/io/files.hpp"
#include "launcher/run/banner.hpp"
#include "launcher/run/long_samples.hpp"
#include "launcher/run/plan_request.hpp"
#include "launcher/run/require_fit.hpp"
#include "launcher/run/stages.hpp"
#include "launcher/threads.hpp"

namespace lora_dist {
namespace {

void open_rank_log(const JoinedRun& run) {
  if (run.is_dry) return;
  make_folders(run.config.state.log_dir);
  open_log({.rank = run.world.rank,
            .world_size = run.world.world_size,
            .file = (std::filesystem::path(run.config.state.log_dir) /
                     fmt::format("rank-{}.log", run.world.rank))
                        .string()});
}

int64_t longest_row(const PreparedRun& run) {
  const std::vector<int32_t>& lengths = run.data.train->measures().costs;
  if (run.config.data.packing)
    return std::min(run.config.data.max_seq_length, run.data.train->stats().cost);
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

FitRequest fit_request(const PreparedRun& run) {
  FitRequest request{
      .plan = plan_request(run.config, *run.base.outline, *run.base.files, run.targets,
                           longest_row(run), run.device, run.program_bytes),
      .steps = run.config.steps,
      .shardings = {run.sharding},
      .num_samples = run.data.stream->num_rows()};
  request.plan.ranks = HostLayout::of(run.communicator->hosts());
  request.plan.slots_per_step = run.data.slots_per_step;
  if (run.device.is_cpu())  // on a GPU this build has no other one
    request.more_shardings =
        shardings_that_hold_less(run.sharding, /*on_gpu=*/false, request.plan.ranks);
  return request;
}

void place_base(ReadyRun& run) {
  if (run.sharding == Sharding::shared && run.device.is_cpu()) {
    run.base.model->set_recompute_blocks(run.fit.setting.recompute_blocks);
  } else {
    place_weights(run.base, open_request(run, run.fit.setting.recompute_blocks));
  }
}

void record_blocks(const ReadyRun& run) {
  if (!run.config.distribution.cuda_graphs) return;
  const ModelOptions& options = run.base.model->options();
  const std::string obstacle =
      obstacle_to_graphs({.device = options.device,
                          .capability = ops::cuda::compute_capability(options.device),
                          .sharding = run.sharding,
                          .multiplied = ops::product_dtype(options.compute, options.device),
                          .weights = *run.base.files});
  if (obstacle.empty()) {
    run.base.model->record_blocks(ops::cuda::make_graph_recorder(options.device));
  } else {
    log_warning(
        fmt::format("cuda_graphs: true, but {}; kernels are launched one by one", obstacle));
  }
}

std::string data_details(const ReadyRun& run) {
  if (run.world.rank != 0) return {};
  return data_text({.path = run.data.path,
                    .sources = run.data.sources,
                    .dataset = *run.data.train,
                    .tokenizer = run.base.tokenizer.get(),
                    .columns = terminal_columns()});
}

std::string banner(const ReadyRun& run) {
  return banner_text(
      {.config = run.config,
       .world = run.world,
       .model = *run.base.outline,
       .plan = run.fit.plan,
       .data = run.data.train->stats(),
       .data_details = data_details(run),
       .data_path = run.data.path,
       .template_name = run.base.prompt_template ? run.base.prompt_template->name() : "",
       .dtype = run.base.model->options().compute == at::kFloat ? "fp32" : "bf16",
       .device = run.base.model->options().device.str(),
       .backend = std::string(run.communicator->backend()),
       .threads = at::get_num_threads(),
       .user_bounds_threads =
           user_bounds_threads(run.world, run.config.distribution.threads_per_rank),
       .slots_per_step = run.data.slots_per_step,
       .steps_per_epoch = run.data.stream->steps_per_epoch(),
       .num_steps = run.data.stream->num_steps(),
       .num_train_samples = run.data.stream->num_samples(),
       .num_rows = run.data.stream->num_rows(),
       .num_held_out = num_held_out(run.data),
       .recompute_blocks = run.fit.setting.recompute_blocks,
       .resumed_from = run.start.resumed_from,
       .steps_done = run.start.steps_done});
}

}  // namespace

int64_t num_held_out(const RunData& data) {
  int64_t count = 0;
  for (const HeldOutSet& set : data.held_out) count += set.stream->num_samples();
  return count;
}

ReadyRun make_ready(PreparedRun prepared) {
  ReadyRun run{std::move(prepared)};
  // Of one rank all is on the terminal; its log begins when the start has succeeded.
  if (run.world.world_size > 1) open_rank_log(run);
  warn_of_long_samples(*run.data.train, decoder_spec_of(*run.base.outline));
  run.fit = require_fit(fit_request(run), run.device, *run.communicator);
  on_all_ranks(*run.communicator, [&] {
    place_base(run);
    record_blocks(run);
    return std::string();
  });
  run.adapter = fresh_adapter(run, run.base.model->options().device);
  run.optimizer =
      optimizers().at(run.config.steps.optimizer)({.params = run.adapter->params().flat(),
                                                   .config = run.config.steps,
                                                   .groups = run.adapter->params().groups()});
  run.start = start_run(
      {.config = run.config, .claim = run.claim.get(), .num_steps = run.data.stream->num_steps()},
      *run.adapter, *run.optimizer, *run.communicator);
  run.adapter->attach(/*weight=*/1);
  if (run.world.world_size == 1) open_rank_log(run);
  log_info(banner(run));
  return run;
}

}  // namespace lora_dist
