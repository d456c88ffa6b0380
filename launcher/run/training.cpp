#include "launcher/run/training.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/ranks/all_ranks.hpp"
#include "core/tasks/task_kind.hpp"
#include "core/training/trainer.hpp"
#include "data/io/files.hpp"
#include "data/io/lease.hpp"
#include "data/weights/safetensors.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/run/best_adapter.hpp"
#include "launcher/run/life.hpp"
#include "launcher/run/memory.hpp"
#include "launcher/run/run_folder.hpp"
#include "launcher/run/stages.hpp"
#include "launcher/run/stop_signals.hpp"

namespace lora_dist {
namespace {

// Seconds since this process was started, from the kernel's own clock.
double seconds_since_exec() {
  std::ifstream uptime("/proc/uptime");
  double up = 0;
  uptime >> up;
  const auto ticks = static_cast<double>(this_process().process_start);
  const double since = up - ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::round(since * 100) / 100;  // the kernel's clock ticks in hundredths
}

// Remembers when the first step of this process ended.
class FirstStepClock final : public RunObserver {
 public:
  void on_step(const StepMetrics&) override {
    if (seconds_ == 0) seconds_ = seconds_since_exec();
  }
  double seconds() const { return seconds_; }

 private:
  double seconds_ = 0;
};

void print_last_line(const std::string& output, double first_loss, double last_loss, double steps,
                     double tokens_per_second) {
  std::printf("adapter %s  loss %.4f -> %.4f  steps %.0f  %.0f tokens/s\n", output.c_str(),
              first_loss, last_loss, steps, tokens_per_second);
  std::fflush(stdout);
}

void say_finished(const PreparedRun& run) {
  if (!run.claim) return;
  const nlohmann::ordered_json& record = run.claim->former_record();
  const auto number = [&](const char* key) {
    return record.contains(key) && record[key].is_number() ? record[key].get<double>() : 0.0;
  };
  const std::string& output = run.config.state.output_dir;
  log_info(
      fmt::format("{}: this run is finished, nothing is left to do and nothing was changed; "
                  "to train again set overwrite_output_dir: true or another output_dir",
                  folder_label(output)));
  print_last_line(output, number("first_loss"), number("last_loss"), number("steps"),
                  number("tokens_per_second"));
}

// The last line on standard output of a good run.
void say_goodbye(const ReadyRun& run, const TrainingResult& result) {
  const RunSummary& summary = result.summary;
  const std::string& output = run.config.state.output_dir;
  if (result.stopped_on_request) {
    log_info(fmt::format("stopped on request at step {}; the same command goes on from there",
                         summary.steps));
  } else {
    log_info(fmt::format("try it:  lora-dist generate --base {} --adapter {} --prompt \"...\"",
                         run.config.model.base_model, output));
  }
  end_status();
  print_last_line(output, summary.first_loss, summary.last_loss, static_cast<double>(summary.steps),
                  static_cast<double>(summary.tokens) / std::max(summary.runtime_s, 1e-9));
}

// A base with NaN in it is found when a loss is not finite: reading all of it at every start
// would cost seconds.
TrainingResult run_or_explain(Trainer& trainer, const ReadyRun& run) {
  try {
    return trainer.run();
  } catch (const NumericsError&) {
    require_finite(*run.base.files);
    throw;
  }
}

std::unique_ptr<RunFolder> make_folder(const ReadyRun& run) {
  const std::string template_name =
      run.base.prompt_template ? run.base.prompt_template->name() : "";
  const nlohmann::ordered_json life =
      describe_life(run.config, run.world, run.communicator->hosts());
  nlohmann::ordered_json facts = {{"host", run.world.host}};
  facts.update(life);
  facts["fingerprints"] = run.fingerprints;
  const nlohmann::ordered_json record = run.claim->take(facts);
  auto folder = std::make_unique<RunFolder>(
      run.config,
      RunFacts{.data_path = run.data.path,
               .data = run.data.train->stats(),
               .num_samples = run.data.stream->num_samples(),
               .num_held_out = num_held_out(run.data),
               .base_dir = run.base_dir,
               .template_name = template_name,
               .layout = run.base.prompt_template
                             ? describe_layout(*run.base.prompt_template, *run.base.tokenizer)
                             : PromptLayout(),
               .on_cpu = run.device.is_cpu(),
               .life = life,
               .description = describe_adapter(run.config, template_name),
               .fingerprints = run.fingerprints,
               .run = run.claim->run(),
               .record = record,
               .require_lease = [lease = run.claim->lease()] { lease->require_held(); },
               .trainable_parameters = run.adapter->params().num_elements(),
               .num_steps = run.data.stream->num_steps()});
  if (!run.start.resumed_from.empty()) folder->trainer_log().restore(run.start.trainer);
  return folder;
}

RunSoFar run_so_far(const ReadyRun& run) {
  const std::vector<HeldOutSet>& held_out = run.data.held_out;
  RunSoFar so_far = lora_dist::run_so_far(run.start.trainer,
                                          held_out.empty() ? std::string() : held_out.front().name);
  if (run.world.rank == 0 && run.config.state.load_best_model_at_end)
    so_far.best_adapter = best_adapter_so_far(run.start.trainer, run.start.resumed_from);
  return so_far;
}

int train_to_the_end(const ReadyRun& run) {
  const std::atomic<bool>& stop_requested = stop_after_step("the newest checkpoint is intact");
  std::unique_ptr<RunFolder> folder;
  on_all_ranks(*run.communicator, [&] {
    if (run.world.rank == 0) folder = make_folder(run);
    return std::string();
  });
  const std::unique_ptr<RunObserver> lease_watch =
      make_lease_watch(run.claim ? run.claim->lease() : nullptr);
  const std::unique_ptr<Task> task =
      tasks().at(run.data.train->schema().task).make(*run.base.model);
  const std::unique_ptr<GradientReducer> reducer =
      reducers().at(run.config.distribution.deterministic ? "tree" : "all_reduce")(
          {.world = *run.communicator,
           .num_elements = run.adapter->params().num_elements(),
           .device = run.device});
  TrainerParts parts{.world = *run.communicator,
                     .task = *task,
                     .adapter = *run.adapter,
                     .stream = *run.data.stream,
                     .held_out = run.data.held_out,
                     .reducer = *reducer,
                     .optimizer = *run.optimizer,
                     .schedule = make_schedule(run.config.steps, run.data.stream->num_steps())};
  FirstStepClock first_step;
  std::unique_ptr<RunObserver> profile;
  if (run.config.state.profile) {
    profile = make_profile_report(
        (std::filesystem::path(run.config.state.output_dir) / "profile").string(), run.world.rank);
  }
  if (folder) {
    parts.checkpoints = &folder->checkpoints();
    parts.observers = folder->observers();
    parts.observers.push_back(&first_step);
    parts.observers.push_back(lease_watch.get());
    parts.trainer_state = [&folder](const RunSummary& so_far) {
      return folder->trainer_log().state_to_save(so_far);
    };
  }
  if (profile) parts.observers.push_back(profile.get());
  Trainer trainer(std::move(parts),
                  {.max_grad_norm = run.config.steps.max_grad_norm,
                   .seed = run.config.steps.seed,
                   .save_steps = run.config.state.save_steps,
                   .eval_steps = run.config.state.eval_steps,
                   .hash_check_steps = run.config.distribution.hash_check_steps,
                   .early_stopping_patience = run.config.state.early_stopping_patience,
                   .load_best_model_at_end = run.config.state.load_best_model_at_end,
                   .stop_requested = &stop_requested});
  if (!run.start.resumed_from.empty()) trainer.resume_at(run_so_far(run));
  const TrainingResult result = run_or_explain(trainer, run);
  if (folder) {
    folder->finish(result, run.adapter->params().named_tensors(), first_step.seconds());
    say_goodbye(run, result);
  }
  run.communicator->barrier({.name = "end of run"});
  return result.stopped_on_request ? kExitStopped : 0;
}

// A start that fails leaves no empty folders.
template <class Start>
auto without_empty_folders(const Config& config, const WorldInfo& world, const Start& start) {
  const std::string& folder = config.state.output_dir;
  const bool is_ours = world.rank == 0 && !std::filesystem::exists(folder);
  if (is_ours) clean_up_when_stopped([folder] { remove_empty_folders(folder); });
  try {
    return start();
  } catch (...) {
    if (is_ours) remove_empty_folders(folder);
    throw;
  }
}

// Nothing for a run that is finished.
std::optional<ReadyRun> start(const Config& config, const WorldInfo& world,
                              const TrainOptions& options, bool is_dry) {
  return without_empty_folders(config, world, [&]() -> std::optional<ReadyRun> {
    PreparedRun run = prepare_data(open_base(join_run(config, world, options, is_dry)));
    if (!run.is_finished) return make_ready(std::move(run));
    say_finished(run);
    return std::nullopt;
  });
}

}  // namespace

int train(const Config& config, const WorldInfo& world, const TrainOptions& options) {
  keep_freed_memory();
  const std::optional<ReadyRun> run = start(config, world, options, /*is_dry=*/false);
  return run ? train_to_the_end(*run) : 0;
}

int dry_run(const Config& config, const WorldInfo& world) {
  start(config, world, {}, /*is_dry=*/true);
  return 0;
}

}  // namespace lora_dist
