// What a run leaves for people and tools to read: metrics.jsonl, TensorBoard events,
// trainer_state.json, results, model card. A report that cannot be written is one warning, then
// off: it is not worth a run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/run_observer.hpp"

namespace lora_dist {

/// Lines of metrics.jsonl, every `logging_steps` and at the last step. After a resume, lines beyond
/// `first_step` - 1 are dropped.
std::unique_ptr<RunObserver> make_metrics_file(const std::string& path, int64_t logging_steps);
/// events.out.tfevents.* in `log_dir` (formats 9.5, 9.6).
std::unique_ptr<RunObserver> make_tensorboard_writer(const std::string& log_dir,
                                                     int64_t logging_steps);

/// Records the steps after the first one, three at most, and writes trace-rank-<rank>.json (Chrome
/// trace) and phases-rank-<rank>.txt into `folder`. Ranks  each may have one.
std::unique_ptr<RunObserver> make_profile_report(const std::string& folder, int rank);

/// Keeps the log history in the fields of the Hugging Face Trainer (formats 9.2) for checkpoints
/// and the end.
class TrainerLog : public RunObserver {
 public:
  virtual nlohmann::ordered_json state() const = 0;  // content of trainer_state.json, keys sorted
  virtual nlohmann::ordered_json results()
      const = 0;  // content of train_results.json, after on_end
  /// Goes on from the state of a checkpoint. Errors  ModelError where a field has another type.
  virtual void restore(const nlohmann::ordered_json& state) = 0;
};
struct TrainerLogOptions {
  int64_t logging_steps = 1, eval_steps = 0, save_steps = 500, max_steps = 0, batch_size = 4;
  double num_epochs = 3;
  std::string output_dir;    // best_model_checkpoint is below it
  int64_t steps_before = 0;  // what a checkpoint's number has more than its step
};
std::unique_ptr<TrainerLog> make_trainer_log(const TrainerLogOptions& options);

struct ModelCard {
  std::string name, base_model, data, template_name, config_yaml;
  int64_t trainable_parameters = 0, steps = 0;
  double first_loss = 0, last_loss = 0;
  std::vector<std::pair<int64_t, double>> eval_losses;  // (step, loss)
};
/// README.md of the run folder: what it is, how it was trained, how to load it with PEFT and with
/// lora-dist.
std::string model_card_markdown(const ModelCard& card);

}  // namespace lora_dist
