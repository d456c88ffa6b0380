// metrics.jsonl: one object per logged step and evaluation, fields in the order of the contract
// (design 1.4).
#include <chrono>
#include <cmath>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/files.hpp"
#include "data/reports/report_file.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

/// Shortest text that reads back as the same number; null where JSON has none.
std::string number(double value) { return nlohmann::json(value).dump(); }

/// 9 significant digits: any fp32 value survives, so equality can be checked from the file.
std::string nine_digits(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "null";
}

double rate(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double unix_time_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) /
         1000;
}

class Line {
 public:
  void operator()(const std::string& name, const std::string& value) {
    text_ +=
        fmt::format("{}{}: {}", text_.empty() ? "{" : ", ", nlohmann::json(name).dump(), value);
  }
  std::string text() const { return text_ + "}\n"; }

 private:
  std::string text_;
};

std::string line_of(const StepMetrics& metrics) {
  Line field;
  field("step", fmt::format("{}", metrics.step));
  field("epoch", number(metrics.epoch));
  field("loss", nine_digits(metrics.loss));
  field("learning_rate", number(metrics.learning_rate));
  field("grad_norm", nine_digits(metrics.grad_norm));
  field("tokens", fmt::format("{}", metrics.tokens));
  field("samples", fmt::format("{}", metrics.samples));
  field("tokens_per_second", number(rate(metrics.tokens, metrics.step_time_s)));
  field("samples_per_second", number(rate(metrics.samples, metrics.step_time_s)));
  field("step_time_s", number(metrics.step_time_s));
  field("data_time_s", number(metrics.data_time_s));
  field("comm_time_s", number(metrics.comm_time_s));
  field("comm_bytes", fmt::format("{}", metrics.comm_bytes));
  field("comm_bytes_inter_node", fmt::format("{}", metrics.comm_bytes_inter_node));
  field("memory_gib", number(metrics.memory_gib));
  field("time", number(unix_time_s()));
  return field.text();
}

std::string line_of(const EvalMetrics& metrics) {
  Line field;
  field("step", fmt::format("{}", metrics.step));
  field("epoch", number(metrics.epoch));
  field(held_out_metric(metrics.set, "loss"), nine_digits(metrics.loss));
  field(held_out_metric(metrics.set, "runtime"), number(metrics.runtime_s));
  field("time", number(unix_time_s()));
  return field.text();
}

/// The leading lines of `text` that are whole and belong to steps before `first_step`.
std::string lines_before(std::string_view text, int64_t first_step) {
  size_t kept = 0;
  while (true) {
    const size_t end = text.find('\n', kept);
    if (end == std::string_view::npos) break;
    const auto line =
        nlohmann::json::parse(text.substr(kept, end - kept), nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) break;
    if (line["step"].get<int64_t>() >= first_step) break;
    kept = end + 1;
  }
  return std::string(text.substr(0, kept));
}

class MetricsFile final : public RunObserver {
 public:
  MetricsFile(std::string path, int64_t logging_steps)
      : path_(std::move(path)), logging_steps_(logging_steps) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    num_steps_ = num_steps;
    try {
      // A killed run may have logged beyond its last checkpoint, and half a line.
      if (std::filesystem::exists(path_)) {
        const std::string text = read_file(path_);
        const std::string kept = lines_before(text, first_step);
        if (kept != text) write_file_atomically(path_, kept);
      }
    } catch (const Error& error) {
      log_warning(error.what());
    }
    file_.open(path_);
  }

  void on_step(const StepMetrics& metrics) override {
    if (is_logged(metrics.step, num_steps_, logging_steps_)) file_.append(line_of(metrics));
  }

  void on_eval(const EvalMetrics& metrics) override { file_.append(line_of(metrics)); }

 private:
  std::string path_;
  int64_t logging_steps_;
  int64_t num_steps_ = 0;
  ReportFile file_;
};

}  // namespace

std::unique_ptr<RunObserver> make_metrics_file(const std::string& path, int64_t logging_steps) {
  return std::make_unique<MetricsFile>(path, logging_steps);
}

}  // namespace lora_dist
