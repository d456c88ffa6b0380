// What a run leaves for people and tools to read: metrics.jsonl, TensorBoard events,
// trainer_state.json, results, model card. A report that cannot be written is one warning, then
// off: it is not worth a run.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/sockets/run_observer.hpp"
#include "core/training/trainer.hpp"

namespace lora_dist {

/// Lines of metrics.jsonl: a step every `logging_steps` and the last one, and each evaluation.
/// After a resume, lines beyond `first_step` - 1 are dropped.
std::unique_ptr<RunObserver> make_metrics_file(const std::string& path, int64_t logging_steps);
/// events.out.tfevents.* in `log_dir` (formats 9.5, 9.6). A resumed run adds a file that tells
/// TensorBoard to forget what the folder has from its first step on, so that one curve is drawn.
std::unique_ptr<RunObserver> make_tensorboard_writer(const std::string& log_dir,
                                                     int64_t logging_steps);

/// Records the steps after the first one, three at most, and writes trace-rank-<rank>.json (Chrome
/// trace) and phases-rank-<rank>.txt into `folder`. Ranks  each may have one.
std::unique_ptr<RunObserver> make_profile_report(const std::string& folder, int rank);

/// Keeps the log history in the fields of the Hugging Face Trainer (formats 9.2) for checkpoints
/// and the end.
class TrainerLog : public RunObserver {
 public:
  /// Content of trainer_state.json of the checkpoint that is about to be saved, keys sorted.
  virtual nlohmann::ordered_json state_to_save(const RunSummary& so_far) = 0;
  /// The same for the run folder, after on_end and with all checkpoints written.
  virtual nlohmann::ordered_json state() const = 0;
  virtual nlohmann::ordered_json results() const = 0;  // content of train_results.json
  /// Goes on from the state of a checkpoint. Errors  ModelError where a field has another type.
  virtual void restore(const nlohmann::ordered_json& state) = 0;
};
struct TrainerLogOptions {
  int64_t logging_steps = 1, eval_steps = 0, save_steps = 500, max_steps = 0, batch_size = 4;
  double num_epochs = 3;
  std::string output_dir;       // best_model_checkpoint is below it
  int64_t steps_before = 0;     // what a checkpoint's number has more than its step
  nlohmann::ordered_json life;  // what run.json says of this process: command, hosts, date
};
std::unique_ptr<TrainerLog> make_trainer_log(const TrainerLogOptions& options);

/// What the trainer_state.json of a checkpoint says of the run before it, its best adapter aside.
/// `deciding_set` is the name of the held-out set that decides. A state of another program has no
/// totals; they count from the checkpoint on then.
/// Errors  ModelError where a field has another type.
RunSoFar run_so_far(const nlohmann::ordered_json& state, const std::string& deciding_set);
/// The `life` of each process that worked on the run, with the step that it began at, oldest first.
nlohmann::ordered_json lives_of(const nlohmann::ordered_json& state);
/// "eval_loss", or "eval_<set>_loss" for a set with a name, as the Hugging Face Trainer has it.
std::string held_out_metric(const std::string& set, const char* what);

/// What README.md of the run folder tells. Empty texts and zero counts are left out.
struct ModelCard {
  std::string name, base_model, config_yaml;
  std::string data;  // the user's path
  int64_t num_samples = 0, num_cut = 0, num_skipped = 0, num_held_out = 0;
  std::string template_name;
  bool is_layout_of_base = true;                 // the template is the base's own
  std::string example_question, example_prompt;  // how the template lays the question out
  int64_t trainable_parameters = 0;
  RunSummary summary;
  int64_t exported_step = 0;
  struct HeldOutLoss {
    int64_t step = 0;
    std::string set;
    double loss = 0;
  };
  std::vector<HeldOutLoss> held_out;
  nlohmann::ordered_json lives;  // see lives_of
};
/// README.md of the run folder: what it is, how it was trained, how a prompt is laid out, how to
/// load it with PEFT and with lora-dist.
std::string model_card_markdown(const ModelCard& card);
/// Whether `text` is one, and not what a person wrote.
bool is_model_card(std::string_view text);

}  // namespace lora_dist
