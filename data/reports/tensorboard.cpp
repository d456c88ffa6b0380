// The curves of a run for TensorBoard, under the tags of the Hugging Face Trainer (formats 9.6).
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/files.hpp"
#include "data/reports/event_records.hpp"
#include "data/reports/report_file.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

constexpr std::string_view kFilePrefix = "events.out.tfevents.";

/// The newest second in the names of the event files in `folder`, 0 without one.
int64_t newest_second(const std::string& folder) {
  int64_t newest = 0;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFilePrefix)) continue;
    int64_t second = 0;
    std::from_chars(name.data() + kFilePrefix.size(), name.data() + name.size(), second);
    newest = std::max(newest, second);
  }
  return newest;
}

/// events.out.tfevents.<10-digit seconds>.<host>.<pid>.<n>. TensorBoard reads a folder's files in
/// the order of their names: the name sorts behind all that `folder` has, also where two processes
/// of a run began within one second or the clock was set back.
std::string event_file_name(const std::string& folder) {
  static std::atomic<int> num_files{0};
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  const int64_t second = std::max(static_cast<int64_t>(wall_time_s()), newest_second(folder) + 1);
  return fmt::format("{}{:010}.{}.{}.{}", kFilePrefix, second, host, ::getpid(), num_files++);
}

class TensorboardWriter final : public RunObserver {
 public:
  TensorboardWriter(std::string log_dir, int64_t logging_steps)
      : log_dir_(std::move(log_dir)), logging_steps_(logging_steps) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    num_steps_ = num_steps;
    try {
      make_folders(log_dir_);
    } catch (const Error& error) {
      log_warning(error.what());
    }
    file_.open((std::filesystem::path(log_dir_) / event_file_name(log_dir_)).string());
    file_.append(event_record(file_version_event(wall_time_s())));
    // A run that was killed has drawn beyond the checkpoint that it goes on from.
    file_.append(event_record(session_start_event(wall_time_s(), first_step)));
  }

  void on_step(const StepMetrics& metrics) override {
    if (!is_logged(metrics.step, num_steps_, logging_steps_)) return;
    write(metrics.step, {{"train/loss", metrics.loss},
                         {"train/grad_norm", metrics.grad_norm},
                         {"train/learning_rate", metrics.learning_rate},
                         {"train/epoch", metrics.epoch}});
  }

  void on_eval(const EvalMetrics& metrics) override {
    const auto samples = static_cast<double>(metrics.samples);
    const std::string tag = metrics.set.empty() ? "eval/" : "eval/" + metrics.set + "_";
    write(metrics.step,
          {{tag + "loss", metrics.loss},
           {tag + "runtime", metrics.runtime_s},
           {tag + "samples_per_second", metrics.runtime_s > 0 ? samples / metrics.runtime_s : 0}});
  }

  void on_end(const RunSummary& summary) override {
    if (!summary.is_over) return;  // the totals of a run are told once, when it ends
    const double seconds = summary.runtime_s;
    write(summary.steps, {{"train/train_runtime", seconds},
                          {"train/train_samples_per_second",
                           seconds > 0 ? static_cast<double>(summary.samples) / seconds : 0},
                          {"train/train_steps_per_second",
                           seconds > 0 ? static_cast<double>(summary.steps) / seconds : 0},
                          {"train/train_loss", summary.mean_loss}});
  }

 private:
  void write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
    file_.append(event_record(scalars_event(wall_time_s(), step, scalars)));
  }

  std::string log_dir_;
  int64_t logging_steps_;
  int64_t num_steps_ = 0;
  ReportFile file_;
};

}  // namespace

std::unique_ptr<RunObserver> make_tensorboard_writer(const std::string& log_dir,
                                                     int64_t logging_steps) {
  return std::make_unique<TensorboardWriter>(log_dir, logging_steps);
}

}  // namespace lora_dist
