#include "launcher/run/run_folder.hpp"

#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "core/base/log.hpp"
#include "core/base/sha256.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/exports/tokenizer_files.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "launcher/run/life.hpp"
#include "launcher/run/progress.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {
namespace {

std::string in_folder(const Config& config, const std::string& name) {
  return (std::filesystem::path(config.state.output_dir) / name).string();
}

// The entries of the log history that tell a held-out loss: "eval_loss", "eval_<set>_loss".
std::vector<ModelCard::HeldOutLoss> held_out_losses(const nlohmann::ordered_json& trainer_state) {
  static const std::string kBegin = "eval_", kEnd = "loss";
  std::vector<ModelCard::HeldOutLoss> losses;
  for (const auto& entry : trainer_state.at("log_history")) {
    for (const auto& [key, value] : entry.items()) {
      if (!key.starts_with(kBegin) || !key.ends_with(kEnd) || !value.is_number()) continue;
      std::string set = key.substr(kBegin.size(), key.size() - kBegin.size() - kEnd.size());
      if (!set.empty()) set.pop_back();  // "old_"
      losses.push_back({entry.at("step").get<int64_t>(), set, value.get<double>()});
    }
  }
  return losses;
}

}  // namespace

RunFolder::RunFolder(const Config& config, RunFacts facts)
    : config_(config), facts_(std::move(facts)) {
  const std::string yaml = resolved_yaml(config);
  write_file_atomically(in_folder(config, "config.resolved.yaml"), yaml);
  checkpoints_ = make_checkpoint_store({.output_dir = config.state.output_dir,
                                        .save_total_limit = config.state.save_total_limit,
                                        .config_yaml = yaml,
                                        .description = facts_.description,
                                        .fingerprints = facts_.fingerprints,
                                        .tokenizer_dir = tokenizer_dir(),
                                        .with_chat_template = facts_.layout.is_of_base,
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
                                   .steps_before = facts_.run.steps_before,
                                   .life = facts_.life});
  metrics_ = make_metrics_file(in_folder(config, "metrics.jsonl"), config.state.logging_steps);
  tensorboard_ = make_tensorboard_writer(config.state.log_dir, config.state.logging_steps);
  progress_ = make_progress(isatty(STDERR_FILENO) != 0);
  long_run_notice_ = make_long_run_notice(facts_.on_cpu, config.steps.epochs);
}

/// Where data were tokenised already the base may have none.
std::string RunFolder::tokenizer_dir() const {
  return facts_.template_name.empty() ? "" : facts_.base_dir;
}

std::vector<RunObserver*> RunFolder::observers() {
  return {trainer_log_.get(), metrics_.get(), tensorboard_.get(), progress_.get(),
          long_run_notice_.get()};
}

void RunFolder::finish(const TrainingResult& result, const NamedTensors& adapter,
                       double seconds_to_first_step) {
  facts_.require_lease();
  write_llm_exports(config_.state.output_dir, facts_.description, adapter,
                    config_.state.save_dtype);
  if (const std::string dir = tokenizer_dir(); !dir.empty())
    copy_tokenizer_files(dir, config_.state.output_dir, facts_.layout.is_of_base);
  const nlohmann::ordered_json state = trainer_log_->state();
  write_file_atomically(in_folder(config_, "trainer_state.json"), sorted_json_text(state));
  write_file_atomically(in_folder(config_, "train_results.json"),
                        trainer_log_->results().dump(4) + "\n");
  write_card(result, state);
  write_run_json(result, state, adapter, seconds_to_first_step);
}

void RunFolder::write_card(const TrainingResult& result,
                           const nlohmann::ordered_json& trainer_state) const {
  const std::string path = card_path(config_.state.output_dir);
  if (std::filesystem::path(path).filename() != kCardFile)
    log_info(fmt::format("{}: not a model card of a run, it stays; the card is {}",
                         in_folder(config_, kCardFile), path));
  write_file_atomically(path,
                        model_card_markdown({.name = config_.state.output_name,
                                             .base_model = config_.model.base_model,
                                             .config_yaml = resolved_yaml(config_),
                                             .data = facts_.data_path,
                                             .num_samples = facts_.num_samples,
                                             .num_cut = facts_.data.num_cut,
                                             .num_skipped = facts_.data.num_skipped,
                                             .num_held_out = facts_.num_held_out,
                                             .template_name = facts_.template_name,
                                             .is_layout_of_base = facts_.layout.is_of_base,
                                             .example_question = facts_.layout.question,
                                             .example_prompt = facts_.layout.prompt,
                                             .trainable_parameters = facts_.trainable_parameters,
                                             .summary = result.summary,
                                             .exported_step = result.exported_step,
                                             .held_out = held_out_losses(trainer_state),
                                             .lives = lives_of(trainer_state)}));
}

void RunFolder::write_run_json(const TrainingResult& result,
                               const nlohmann::ordered_json& trainer_state,
                               const NamedTensors& adapter, double seconds_to_first_step) const {
  const RunSummary& summary = result.summary;
  const double runtime = std::max(summary.runtime_s, 1e-9);
  nlohmann::ordered_json run = facts_.record;
  run.update(
      nlohmann::ordered_json{{"finished", utc_now()},
                             {"data",
                              {{"path", facts_.data_path},
                               {"samples", facts_.num_samples},
                               {"cut", facts_.data.num_cut},
                               {"skipped", facts_.data.num_skipped},
                               {"held_out", facts_.num_held_out}}},
                             {"steps", summary.steps},
                             {"epoch", summary.epoch},
                             {"tokens", summary.tokens},
                             {"samples", summary.samples},
                             {"first_loss", summary.first_loss},
                             {"last_loss", summary.last_loss},
                             {"mean_loss", summary.mean_loss},
                             {"best_step", trainer_state.at("best_global_step")},
                             {"best_held_out_loss", trainer_state.at("best_metric")},
                             {"best_checkpoint", trainer_state.at("best_model_checkpoint")},
                             {"exported_step", result.exported_step},
                             {"seconds_to_first_step", seconds_to_first_step},
                             {"train_runtime_s", summary.runtime_s},
                             {"tokens_per_second", static_cast<double>(summary.tokens) / runtime},
                             {"samples_per_second", static_cast<double>(summary.samples) / runtime},
                             {"adapter_sha256", adapter_sha256(adapter)},
                             {"lives", lives_of(trainer_state)},
                             {"exit", result.stopped_on_request ? "stopped on request"
                                      : result.stopped_early    ? "stopped early"
                                                                : "done"}});
  write_file_atomically(in_folder(config_, "run.json"), utf8_dump(run, /*indent=*/2) + "\n");
}

}  // namespace lora_dist
