#include "launcher/run/run_folder.hpp"

#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "core/sha256.hpp"
#include "data/files.hpp"
#include "launcher/run/progress.hpp"

namespace lora_dist {
namespace {

std::string in_folder(const Config& config, const std::string& name) {
  return (std::filesystem::path(config.state.output_dir) / name).string();
}

std::vector<std::pair<int64_t, double>> eval_history(const nlohmann::ordered_json& trainer_state) {
  std::vector<std::pair<int64_t, double>> losses;
  for (const auto& entry : trainer_state.at("log_history")) {
    if (entry.contains("eval_loss") && entry["eval_loss"].is_number())
      losses.emplace_back(entry.at("step").get<int64_t>(), entry["eval_loss"].get<double>());
  }
  return losses;
}

}  // namespace

RunFolder::RunFolder(const Config& config, const WorldInfo& world, RunFacts facts)
    : config_(config), world_(world), facts_(std::move(facts)) {
  const std::string yaml = resolved_yaml(config);
  write_file_atomically(in_folder(config, "config.resolved.yaml"), yaml);
  checkpoints_ = make_checkpoint_store({.output_dir = config.state.output_dir,
                                        .save_total_limit = config.state.save_total_limit,
                                        .config_yaml = yaml,
                                        .description = facts_.description,
                                        .fingerprints = facts_.fingerprints,
                                        .keep_best = config.state.load_best_model_at_end,
                                        .run = facts_.run,
                                        .require_lease = facts_.require_lease});
  trainer_log_ = make_trainer_log({.logging_steps = config.state.logging_steps,
                                   .eval_steps = config.state.eval_steps,
                                   .save_steps = config.state.save_steps,
                                   .max_steps = facts_.num_steps,
                                   .batch_size = config.steps.batch_size,
                                   .num_epochs = config.steps.epochs,
                                   .output_dir = config.state.output_dir,
                                   .steps_before = facts_.run.steps_before});
  metrics_ = make_metrics_file(in_folder(config, "metrics.jsonl"), config.state.logging_steps);
  tensorboard_ = make_tensorboard_writer(config.state.log_dir, config.state.logging_steps);
  progress_ = make_progress(isatty(STDERR_FILENO) != 0);
}

std::vector<RunObserver*> RunFolder::observers() {
  return {trainer_log_.get(), metrics_.get(), tensorboard_.get(), progress_.get()};
}

void RunFolder::finish(const TrainingResult& result, const NamedTensors& adapter,
                       double seconds_to_first_step) {
  facts_.require_lease();
  write_llm_exports(config_.state.output_dir, facts_.description, adapter,
                    config_.state.save_dtype);
  const nlohmann::ordered_json state = trainer_log_->state();
  write_file_atomically(in_folder(config_, "trainer_state.json"), state.dump(2) + "\n");
  write_file_atomically(in_folder(config_, "train_results.json"),
                        trainer_log_->results().dump(4) + "\n");
  write_file_atomically(in_folder(config_, "README.md"),
                        model_card_markdown({.name = config_.state.output_name,
                                             .base_model = config_.model.base_model,
                                             .data = facts_.data_path,
                                             .template_name = facts_.template_name,
                                             .config_yaml = resolved_yaml(config_),
                                             .trainable_parameters = facts_.trainable_parameters,
                                             .steps = result.summary.steps,
                                             .first_loss = result.summary.first_loss,
                                             .last_loss = result.summary.last_loss,
                                             .eval_losses = eval_history(state)}));
  write_run_json(result, adapter, seconds_to_first_step);
}

void RunFolder::write_run_json(const TrainingResult& result, const NamedTensors& adapter,
                               double seconds_to_first_step) const {
  const RunSummary& summary = result.summary;
  const double runtime = std::max(summary.runtime_s, 1e-9);
  nlohmann::ordered_json run = facts_.record;
  run.update(
      nlohmann::ordered_json{{"steps", summary.steps},
                             {"epoch", summary.epoch},
                             {"first_loss", summary.first_loss},
                             {"last_loss", summary.last_loss},
                             {"seconds_to_first_step", seconds_to_first_step},
                             {"train_runtime_s", summary.runtime_s},
                             {"tokens_per_second", static_cast<double>(summary.tokens) / runtime},
                             {"samples_per_second", static_cast<double>(summary.samples) / runtime},
                             {"adapter_sha256", adapter_sha256(adapter)},
                             {"exit", result.stopped_on_request ? "stopped on request"
                                      : result.stopped_early    ? "stopped early"
                                                                : "done"}});
  write_file_atomically(in_folder(config_, "run.json"), run.dump(2) + "\n");
}

}  // namespace lora_dist
