#include "core/optimizers/optimizer.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/io/files.hpp"
#include "data/weights/base_fingerprint.hpp"
#include "launcher/run/mathematics.hpp"
#include "launcher/run/plan_request.hpp"
#include "launcher/run/run_folder.hpp"
#include "launcher/run/stages.hpp"

namespace lora_dist {
namespace {

// What would end the run after its data, and is known without them.
void check_before_data(const OpenedRun& run) {
  PlanRequest request =
      plan_request(run.config, *run.base.outline, *run.base.files, run.targets,
                   /*tokens=*/run.config.data.max_seq_length, run.device, run.program_bytes);
  request.ranks = HostLayout::of(run.communicator->hosts());
  // A checkpoint holds the adapter in fp32 and the optimizer's state.
  const int64_t state_bytes = optimizers().at(run.config.steps.optimizer).state_bytes_per_parameter;
  require_free_space(run.config.state.output_dir,
                     (sizeof(float) + state_bytes) *
                         static_cast<uint64_t>(plan_run(request).trainable_parameters));
  if (!run.claim->former_record().is_null()) return;  // a run that goes on has its own adapter
  const std::optional<LoadedAdapter> initial = read_initial_adapter(run.config);
  if (!initial) return;
  const auto trial = fresh_adapter(run, at::kCPU);
  trial->params().assign(initial->tensors, initial->path);
}

// Of the config as it was written: how the global batch came about is part of it.
nlohmann::ordered_json mathematics(const OpenedRun& run) {
  return mathematics_of(run.asked, slots_per_step(run.config, run.world.world_size));
}

// Mapped only: what the base says is checked before the data is read, and nothing is allocated
// before it is known to fit.
void open_mapped(OpenedRun& run) {
  OpenRequest request = open_request(run, /*recompute_blocks=*/false);
  request.device = "cpu";
  request.sharding = Sharding::shared;
  run.program_bytes = program_bytes_of(run.base_dir, run.config.model.dtype, run.device);
  run.base = open_model(request);
  run.targets =
      match_targets(run.base.outline->table().linear_modules(), run.config.adapter.target_modules,
                    run.config.adapter.exclude_modules, run.base.outline->model_type());
  require_matching_patterns(run.config.adapter, run.targets);
}

}  // namespace

std::unique_ptr<Adapter> fresh_adapter(const OpenedRun& run, at::Device device) {
  return make_adapter({.groups = run.base.model->linear_groups(),
                       .config = run.config.adapter,
                       .targets = run.targets,
                       .compute = run.base.model->options().compute,
                       .device = device});
}

OpenRequest open_request(const OpenedRun& run, bool recompute_blocks) {
  return {.base = run.base_dir,
          .dtype = run.config.model.dtype,
          .device = run.device.is_cpu() ? "cpu" : "cuda",
          .local_rank = run.world.local_rank,
          .sharding = run.sharding,
          .gather_group = run.host ? run.host.get() : run.communicator.get(),
          .template_name = run.config.data.chat_template,
          .recompute_blocks = recompute_blocks,
          .deterministic = run.config.distribution.deterministic,
          .needs_tokenizer = run.needs_tokenizer};
}

OpenedRun open_base(JoinedRun joined) {
  OpenedRun run{std::move(joined)};
  run.base_dir = base_dir_of_rank(run.config, *run.communicator);
  run.needs_tokenizer = data_needs_tokenizer(run.config.data, run.base_dir, *run.communicator);
  on_all_ranks(*run.communicator, [&] {
    open_mapped(run);
    run.fingerprints = {{"base", base_fingerprint(run.base.config, *run.base.files)},
                        {"mathematics", mathematics(run)}};
    if (run.base.tokenizer) run.fingerprints["tokenizer"] = run.base.tokenizer->sha256();
    if (run.claim) {
      run.claim->decide(run.fingerprints);  // the data may take long
      check_before_data(run);
    }
    return std::string();
  });
  return run;
}

}  // namespace lora_dist
