// trainer_state.json and train_results.json in the fields of the Hugging Face Trainer
// (formats 9.2, 9.3).
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
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

/// Where the state keeps what the Hugging Face Trainer has no field for: callbacks that it does not
/// know are passed over when it reads one.
constexpr const char* kOurCallback = "LoraDistRun";

const Json* our_attributes(const Json& state) {
  const Json::json_pointer place(std::string("/stateful_callbacks/") + kOurCallback +
                                 "/attributes");
  return state.contains(place) ? &state.at(place) : nullptr;
}

double per_second(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

class HuggingFaceLog final : public TrainerLog {
 public:
  explicit HuggingFaceLog(TrainerLogOptions options) : options_(std::move(options)) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    first_step_ = first_step;
    options_.max_steps = num_steps;
  }

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
    const auto name = [&](const char* what) { return held_out_metric(metrics.set, what); };
    history_.push_back({{"epoch", metrics.epoch},
                        {name("loss"), finite_or_null(metrics.loss)},
                        {name("runtime"), metrics.runtime_s},
                        {name("samples_per_second"),
                         per_second(static_cast<double>(metrics.samples), metrics.runtime_s)},
                        {name("steps_per_second"), per_second(num_batches, metrics.runtime_s)},
                        {"step", metrics.step}});
    if (!metrics.decides || !std::isfinite(metrics.loss)) return;
    if (best_metric_ && *best_metric_ <= metrics.loss) return;
    best_metric_ = metrics.loss;
    best_step_ = metrics.step;
    best_checkpoint_ =
        fmt::format("{}/checkpoint-{}", options_.output_dir, options_.steps_before + metrics.step);
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
    summary_ = summary;
    if (!summary.is_over) return;
    Json entry = results_;
    entry["step"] = global_step_;
    history_.push_back(std::move(entry));
  }

  Json state_to_save(const RunSummary& so_far) override {
    summary_ = so_far;
    // The store writes behind the training: the best may be this checkpoint, or the one before it.
    const bool is_coming =
        best_step_ && (*best_step_ == global_step_ || *best_step_ == last_saved_);
    last_saved_ = global_step_;
    return content(is_coming);
  }

  Json state() const override { return content(/*best_is_coming=*/false); }

  Json results() const override { return results_; }

  void restore(const Json& state) override {
    static const std::string kWhere = "trainer_state.json";
    global_step_ = last_saved_ = json_integer(state, "global_step", kWhere);
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
    lives_ = lives_of(state);
  }

 private:
  Json content(bool best_is_coming) const {
    const bool has_best = best_checkpoint_ && (best_is_coming || exists(*best_checkpoint_));
    return {{"best_global_step", value_or_null(best_step_)},
            {"best_metric", value_or_null(best_metric_)},
            {"best_model_checkpoint", has_best ? Json(*best_checkpoint_) : Json(nullptr)},
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
            {"stateful_callbacks",
             {{kOurCallback, {{"args", Json::object()}, {"attributes", ours()}}}}},
            {"total_flos", 0.0},
            {"train_batch_size", options_.batch_size},
            {"trial_name", nullptr},
            {"trial_params", nullptr}};
  }

  Json ours() const {
    Json lives = lives_;
    if (options_.life.is_object()) {
      lives.push_back(options_.life);
      lives.back()["first_step"] = first_step_;
    }
    return {{"first_loss", finite_or_null(summary_.first_loss)},
            {"last_loss", finite_or_null(summary_.last_loss)},
            {"lives", lives},
            {"mean_loss", finite_or_null(summary_.mean_loss)},
            {"runtime_s", summary_.runtime_s},
            {"samples", summary_.samples},
            {"tokens", summary_.tokens}};
  }

  static bool exists(const std::string& folder) {
    std::error_code problem;
    return std::filesystem::is_directory(folder, problem);
  }

  TrainerLogOptions options_;
  int64_t first_step_ = 1, global_step_ = 0, last_saved_ = 0;
  double epoch_ = 0;
  int64_t num_tokens_seen_ = 0;
  Json history_ = Json::array();
  std::optional<double> best_metric_;
  std::optional<int64_t> best_step_;
  std::optional<std::string> best_checkpoint_;
  Json results_ = Json::object();
  RunSummary summary_;
  Json lives_ = Json::array();  // before this one
};

}  // namespace

std::unique_ptr<TrainerLog> make_trainer_log(const TrainerLogOptions& options) {
  return std::make_unique<HuggingFaceLog>(options);
}

std::string held_out_metric(const std::string& set, const char* what) {
  return set.empty() ? fmt::format("eval_{}", what) : fmt::format("eval_{}_{}", set, what);
}

nlohmann::ordered_json lives_of(const Json& state) {
  const Json* ours = our_attributes(state);
  const Json lives = ours ? ours->value("lives", Json::array()) : Json::array();
  return lives.is_array() ? lives : Json::array();
}

RunSoFar run_so_far(const Json& state, const std::string& deciding_set) {
  static const std::string kWhere = "trainer_state.json";
  RunSoFar so_far;
  so_far.summary.steps = json_integer(state, "global_step", kWhere);
  so_far.summary.epoch = json_number(state, "epoch", kWhere);
  const std::string metric = held_out_metric(deciding_set, "loss");
  std::vector<double> losses;
  for (const Json& entry : json_member(state, "log_history", kWhere)) {
    if (entry.contains(metric))
      so_far.held_out.add(
          json_integer(entry, "step", kWhere),
          entry[metric].is_null() ? std::nan("") : json_number(entry, metric.c_str(), kWhere));
    if (entry.contains("loss") && entry["loss"].is_number())
      losses.push_back(json_number(entry, "loss", kWhere));
  }
  if (const Json* ours = our_attributes(state)) {
    so_far.summary.first_loss = json_number(*ours, "first_loss", kWhere);
    so_far.summary.last_loss = json_number(*ours, "last_loss", kWhere);
    so_far.summary.mean_loss = json_number(*ours, "mean_loss", kWhere);
    so_far.summary.runtime_s = json_number(*ours, "runtime_s", kWhere);
    so_far.summary.samples = json_integer(*ours, "samples", kWhere);
    so_far.summary.tokens = json_integer(*ours, "tokens", kWhere);
  } else if (!losses.empty()) {
    so_far.summary.first_loss = losses.front();
    so_far.summary.last_loss = losses.back();
    so_far.summary.mean_loss =
        std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
  }
  return so_far;
}

}  // namespace lora_dist
