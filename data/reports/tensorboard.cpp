// The curves of a run for TensorBoard, under the tags of the Hugging Face Trainer (formats 9.6).
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/files.hpp"
#include "data/reports/event_records.hpp"
#include "data/reports/report_file.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

double wall_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// events.out.tfevents.<10-digit seconds>.<host>.<pid>.<n>
std::string event_file_name() {
  static std::atomic<int> num_files{0};
  char host[256] = "host";
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("events.out.tfevents.{:010}.{}.{}.{}", static_cast<int64_t>(wall_time_s()),
                     host, ::getpid(), num_files++);
}

class TensorboardWriter final : public RunObserver {
 public:
  TensorboardWriter(std::string log_dir, int64_t logging_steps)
      : log_dir_(std::move(log_dir)), logging_steps_(logging_steps) {}

  void on_begin(int64_t, int64_t num_steps) override {
    num_steps_ = num_steps;
    try {
      make_folders(log_dir_);
    } catch (const Error& error) {
      log_warning(error.what());
    }
    // A resumed run adds a file to the same folder, so that its curves go on.
    file_.open((std::filesystem::path(log_dir_) / event_file_name()).string());
    file_.append(event_record(file_version_event(wall_time_s())));
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
    write(metrics.step,
          {{"eval/loss", metrics.loss},
           {"eval/runtime", metrics.runtime_s},
           {"eval/samples_per_second", metrics.runtime_s > 0 ? samples / metrics.runtime_s : 0}});
  }

  void on_end(const RunSummary& summary) override {
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
