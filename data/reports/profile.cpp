// The `profile` key: a recording of a few steps as a Chrome trace (chrome://tracing, Perfetto) and
// as a table of phases.
#include <algorithm>
#include <filesystem>
#include <map>

#include "core/base/log.hpp"
#include "core/base/trace.hpp"
#include "data/io/files.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kSkippedSteps = 1;  // the first step meets cold caches
constexpr int64_t kRecordedSteps = 3;

std::string chrome_trace(const std::vector<trace::Event>& events, int rank) {
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  for (size_t i = 0; i < events.size(); ++i) {
    const trace::Event& event = events[i];
    text += fmt::format(
        "{{\"name\": \"{}\", \"ph\": \"X\", \"pid\": {}, \"tid\": {}, \"ts\": {:.1f}, \"dur\": "
        "{:.1f}}}{}\n",
        event.name, rank, event.thread, event.begin_s * 1e6, event.duration_s * 1e6,
        i + 1 < events.size() ? "," : "");
  }
  return text + "]}\n";
}

/// Seconds are of a phase itself, without the phases inside it, so the shares add up.
std::string phase_table(const std::vector<trace::Event>& events, int64_t num_steps) {
  struct Phase {
    double own_s = 0;
    int64_t count = 0;
  };
  std::map<std::string, Phase> phases;
  double total_s = 0;
  for (const trace::Event& event : events) {
    Phase& phase = phases[event.name];
    phase.own_s += event.own_s;
    ++phase.count;
    total_s += event.own_s;
  }
  std::vector<std::pair<std::string, Phase>> rows(phases.begin(), phases.end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.own_s > b.second.own_s; });
  const auto steps = static_cast<double>(num_steps);
  std::string text =
      fmt::format("{:<22} {:>10} {:>7} {:>9}\n", "phase", "ms/step", "share", "calls");
  for (const auto& [name, phase] : rows)
    text += fmt::format("{:<22} {:>10.2f} {:>6.1f}% {:>9.1f}\n", name, 1e3 * phase.own_s / steps,
                        100 * phase.own_s / total_s, static_cast<double>(phase.count) / steps);
  return text;
}

class ProfileReport final : public RunObserver {
 public:
  ProfileReport(std::string folder, int rank) : folder_(std::move(folder)), rank_(rank) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    const int64_t left = num_steps - first_step + 1;
    first_recorded_ = first_step + (left > kSkippedSteps ? kSkippedSteps : 0);
    last_recorded_ = std::min(first_recorded_ + kRecordedSteps - 1, num_steps);
    if (first_recorded_ == first_step) trace::start();
  }

  void on_step(const StepMetrics& metrics) override {
    if (metrics.step + 1 == first_recorded_) trace::start();
    if (metrics.step == last_recorded_) write(trace::stop());
  }

 private:
  void write(const std::vector<trace::Event>& events) const {
    const int64_t num_steps = last_recorded_ - first_recorded_ + 1;
    const std::string table = phase_table(events, num_steps);
    try {
      make_folders(folder_);
      const auto in_folder = [&](const std::string& name) {
        return (std::filesystem::path(folder_) / fmt::format(fmt::runtime(name), rank_)).string();
      };
      write_file_atomically(in_folder("trace-rank-{}.json"), chrome_trace(events, rank_));
      write_file_atomically(in_folder("phases-rank-{}.txt"), table);
    } catch (const StorageError& error) {  // a report is not worth a run
      log_warning(error.what());
    }
    log_info(fmt::format("profile of steps {} to {} ({}/)\n{}", first_recorded_, last_recorded_,
                         folder_, table));
  }

  std::string folder_;
  int rank_;
  int64_t first_recorded_ = 0, last_recorded_ = 0;
};

}  // namespace

std::unique_ptr<RunObserver> make_profile_report(const std::string& folder, int rank) {
  return std::make_unique<ProfileReport>(folder, rank);
}

}  // namespace lora_dist
