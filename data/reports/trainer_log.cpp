// trainer_state.json and train_results.json in the fields of the Hugging Face Trainer
// (formats 9.2, 9.3).
#include <cmath>
#include <optional>

#include "core/error.hpp"
#include "data/json.hpp"
#include "data/reports/report_file.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

/// JSON has no number for these; a reader sees that there was none.
Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

template <class Value>
Json value_or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

double per_second(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

class HuggingFaceLog final : public TrainerLog {
 public:
  explicit HuggingFaceLog(TrainerLogOptions options) : options_(std::move(options)) {}

  void on_begin(int64_t, int64_t num_steps) override { options_.max_steps = num_steps; }

  void on_step(const StepMetrics& metrics) override {
    global_step_ = metrics.step;
    epoch_ = metrics.epoch;
    num_tokens_seen_ += metrics.tokens;
    if (!is_logged(metrics.step, options_.max_steps, options_.logging_steps)) return;
    history_.push_back({{"epoch", metrics.epoch},
                        {"grad_norm", finite_or_null(metrics.grad_norm)},
                        {"learning_rate", metrics.learning_rate},
                        {"loss", finite_or_null(metrics.loss)},
                        {"step", metrics.step}});
  }

  void on_eval(const EvalMetrics& metrics) override {
    const double num_batches =
        std::ceil(static_cast<double>(metrics.samples) / static_cast<double>(options_.batch_size));
    history_.push_back({{"epoch", metrics.epoch},
                        {"eval_loss", finite_or_null(metrics.loss)},
                        {"eval_runtime", metrics.runtime_s},
                        {"eval_samples_per_second",
                         per_second(static_cast<double>(metrics.samples), metrics.runtime_s)},
                        {"eval_steps_per_second", per_second(num_batches, metrics.runtime_s)},
                        {"step", metrics.step}});
    if (!std::isfinite(metrics.loss) || (best_metric_ && *best_metric_ <= metrics.loss)) return;
    best_metric_ = metrics.loss;
    best_step_ = metrics.step;
    if (options_.save_steps > 0 && metrics.step % options_.save_steps == 0)
      best_checkpoint_ = fmt::format("{}/checkpoint-{}", options_.output_dir,
                                     options_.steps_before + metrics.step);
  }

  void on_end(const RunSummary& summary) override {
    results_ = {{"epoch", summary.epoch},
                {"total_flos", 0.0},  // not counted
                {"train_loss", finite_or_null(summary.mean_loss)},
                {"train_runtime", summary.runtime_s},
                {"train_samples_per_second",
                 per_second(static_cast<double>(summary.samples), summary.runtime_s)},
                {"train_steps_per_second",
                 per_second(static_cast<double>(summary.steps), summary.runtime_s)}};
    Json entry = results_;
    entry["step"] = global_step_;
    history_.push_back(std::move(entry));
  }

  Json state() const override {
    return {{"best_global_step", value_or_null(best_step_)},
            {"best_metric", value_or_null(best_metric_)},
            {"best_model_checkpoint", value_or_null(best_checkpoint_)},
            {"epoch", epoch_},
            {"eval_steps", options_.eval_steps},
            {"global_step", global_step_},
            {"is_hyper_param_search", false},
            {"is_local_process_zero", true},
            {"is_world_process_zero", true},
            {"log_history", history_},
            {"logging_steps", options_.logging_steps},
            {"max_steps", options_.max_steps},
            {"num_input_tokens_seen", num_tokens_seen_},
            {"num_train_epochs", static_cast<int64_t>(std::ceil(options_.num_epochs))},
            {"save_steps", options_.save_steps},
            {"stateful_callbacks", Json::object()},
            {"total_flos", 0.0},
            {"train_batch_size", options_.batch_size},
            {"trial_name", nullptr},
            {"trial_params", nullptr}};
  }

  Json results() const override { return results_; }

  void restore(const Json& state) override {
    static const std::string kWhere = "trainer_state.json";
    global_step_ = json_integer(state, "global_step", kWhere);
    epoch_ = json_number(state, "epoch", kWhere);
    num_tokens_seen_ = json_integer(state, "num_input_tokens_seen", kWhere);
    history_ = json_member(state, "log_history", kWhere);
    if (!history_.is_array()) throw ModelError({kWhere, "'log_history' is no list", {}, {}});
    const auto is_set = [&](const char* key) {
      return state.contains(key) && !state[key].is_null();
    };
    if (is_set("best_metric")) best_metric_ = json_number(state, "best_metric", kWhere);
    if (is_set("best_global_step")) best_step_ = json_integer(state, "best_global_step", kWhere);
    if (is_set("best_model_checkpoint"))
      best_checkpoint_ = json_text(state, "best_model_checkpoint", kWhere);
  }

 private:
  TrainerLogOptions options_;
  int64_t global_step_ = 0;
  double epoch_ = 0;
  int64_t num_tokens_seen_ = 0;
  Json history_ = Json::array();
  std::optional<double> best_metric_;
  std::optional<int64_t> best_step_;
  std::optional<std::string> best_checkpoint_;
  Json results_ = Json::object();
};

}  // namespace

std::unique_ptr<TrainerLog> make_trainer_log(const TrainerLogOptions& options) {
  return std::make_unique<HuggingFaceLog>(options);
}

}  // namespace lora_dist
