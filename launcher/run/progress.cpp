#include "launcher/run/progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include <sys/ioctl.h>

#include "core/base/log.hpp"
#include "core/base/units.hpp"

namespace lora_dist {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxBar = 24, kMinBar = 8;
constexpr double kLineEvery_s = 5;    // between plain lines, so that a log file stays readable
constexpr double kDrawEvery_s = 0.1;  // between two drawings of the line in place
constexpr size_t kUsualWidth = 80;    // of a terminal that does not say

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

// Asked each time, so that the line fits after a resize. The last column stays free: some
// terminals wrap when it is written.
size_t line_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth - 1;
  return size.ws_col - size_t{1};
}

std::string short_count(double value) {
  if (value >= 1e6) return fmt::format("{:.1f}M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.0f}k", value / 1e3);
  if (value >= 1e3) return fmt::format("{:.1f}k", value / 1e3);
  return fmt::format("{:.0f}", value);
}

std::string short_duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 360'000) return fmt::format("{}d", whole / 86'400);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

// From all to little: the first that fits is shown.
std::vector<std::string> line_forms(const ProgressFacts& facts) {
  const std::string steps = fmt::format("{}/{}", facts.step, facts.num_steps);
  const std::string rate = short_count(facts.tokens_per_second);
  const std::string left = short_duration(facts.seconds_left);
  const auto held_out = [&](const char* format) {
    return facts.held_out_loss ? fmt::format(fmt::runtime(format), *facts.held_out_loss) : "";
  };
  return {
      fmt::format("{}  loss {:.4f}{}  lr {:.2e}  epoch {:.2f}  {:.0f} tokens/s  {} left", steps,
                  facts.loss, held_out("  held-out {:.4f}"), facts.learning_rate, facts.epoch,
                  facts.tokens_per_second, duration_text(facts.seconds_left)),
      fmt::format("{}  loss {:.4f}{}  {:.0f} tokens/s  {} left", steps, facts.loss,
                  held_out("  held-out {:.4f}"), facts.tokens_per_second,
                  duration_text(facts.seconds_left)),
      fmt::format("{} loss {:.3f}{} {} tok/s {} left", steps, facts.loss,
                  held_out(" held-out {:.3f}"), rate, left),
      fmt::format("{} loss {:.3f}{} {}/s {}", steps, facts.loss, held_out(" held-out {:.3f}"), rate,
                  left),
      fmt::format("{} loss {:.2f}{} {}/s {}", steps, facts.loss, held_out(" held {:.2f}"), rate,
                  left),
      fmt::format("{} {:.3f}{} {}/s {}", steps, facts.loss, held_out(" held {:.3f}"), rate, left),
      fmt::format("{} {:.3f}{} {}", steps, facts.loss, held_out("/{:.3f}"), left),
      fmt::format("{} {:.2f} {}", steps, facts.loss, left),
      fmt::format("{} {}", steps, left),
  };
}

class Progress final : public RunObserver {
 public:
  explicit Progress(bool on_terminal) : on_terminal_(on_terminal) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    first_step_ = first_step;
    facts_.num_steps = num_steps;
    start_ = last_line_ = last_drawing_ = Clock::now();
  }

  void on_step(const StepMetrics& metrics) override {
    tokens_ += metrics.tokens;
    const double elapsed = seconds_since(start_);
    const auto done = static_cast<double>(metrics.step - first_step_ + 1);
    facts_.step = metrics.step;
    facts_.epoch = metrics.epoch;
    facts_.loss = metrics.loss;
    facts_.learning_rate = metrics.learning_rate;
    facts_.tokens_per_second = static_cast<double>(tokens_) / elapsed;
    facts_.seconds_left = elapsed / done * static_cast<double>(facts_.num_steps - metrics.step);

    const bool first_or_last = metrics.step == first_step_ || metrics.step == facts_.num_steps;
    if (on_terminal_ && (first_or_last || seconds_since(last_drawing_) >= kDrawEvery_s)) draw();
    if (first_or_last || seconds_since(last_line_) >= kLineEvery_s) {
      if (on_terminal_)
        log_debug(progress_text(facts_));
      else
        log_info(progress_text(facts_));
      last_line_ = Clock::now();
    }
  }

  void on_eval(const EvalMetrics& metrics) override {
    if (metrics.decides) facts_.held_out_loss = metrics.loss;
    log_info(fmt::format("step {}  held-out loss{}{} {:.4f}  perplexity {:.2f}", metrics.step,
                         metrics.set.empty() ? "" : " of ", metrics.set, metrics.loss,
                         std::exp(metrics.loss)));
  }

  void on_end(const RunSummary&) override { end_status(); }

 private:
  void draw() {
    draw_status(progress_line(facts_, line_width()));
    last_drawing_ = Clock::now();
  }

  bool on_terminal_;
  int64_t first_step_ = 1, tokens_ = 0;
  ProgressFacts facts_;
  Clock::time_point start_, last_line_, last_drawing_;
};

constexpr double kLongRun_s = 2 * 3600;
constexpr int64_t kMeasuredSteps = 3;  // behind the first, which meets cold caches
constexpr double kMeasured_s = 60;     // or as many seconds, where steps are long

class LongRunNotice final : public RunObserver {
 public:
  LongRunNotice(bool on_cpu, double epochs) : said_(!on_cpu), epochs_(epochs) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    first_step_ = first_step;
    num_steps_ = num_steps;
  }

  void on_step(const StepMetrics& metrics) override {
    if (said_ || metrics.step == first_step_) return;
    ++measured_;
    seconds_ += metrics.step_time_s;
    if (measured_ < kMeasuredSteps && seconds_ < kMeasured_s) return;
    said_ = true;
    const double step_s = seconds_ / static_cast<double>(measured_);
    const double left_s = step_s * static_cast<double>(num_steps_ - metrics.step);
    if (left_s >= kLongRun_s) say(step_s, left_s);
  }

 private:
  void say(double step_s, double left_s) const {
    const auto in_an_hour = std::max<int64_t>(1, std::llround(3600 / step_s));
    log_info(fmt::format(
        "this run takes about {:.0f} hours on the CPU, {:.3g} s per step; shorter: max_steps: {} "
        "takes about an hour{}; a smaller base, a shorter max_seq_length or a GPU make steps "
        "faster",
        left_s / 3600, step_s, in_an_hour,
        epochs_ > 1 ? fmt::format(", epochs: 1 about {:.2g} hours", left_s / 3600 / epochs_) : ""));
  }

  bool said_;
  double epochs_;
  int64_t first_step_ = 1, num_steps_ = 0, measured_ = 0;
  double seconds_ = 0;
};

}  // namespace

std::string progress_text(const ProgressFacts& facts) {
  return fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  {} left",
                     facts.step, facts.num_steps, facts.epoch, facts.loss, facts.learning_rate,
                     facts.tokens_per_second, duration_text(facts.seconds_left));
}

std::string progress_line(const ProgressFacts& facts, size_t width) {
  const std::vector<std::string> forms = line_forms(facts);
  const auto fitting = std::find_if(forms.begin(), forms.end(),
                                    [&](const std::string& form) { return form.size() <= width; });
  if (fitting == forms.end()) return forms.back().substr(0, width);
  const size_t room = width - fitting->size();
  if (room < kMinBar + 3) return *fitting;  // two brackets and a space
  const size_t bar = std::min(kMaxBar, room - 3);
  const auto filled = static_cast<size_t>(std::clamp<int64_t>(
      static_cast<int64_t>(bar) * facts.step / std::max<int64_t>(1, facts.num_steps), 0,
      static_cast<int64_t>(bar)));
  return fmt::format("[{}{}] {}", std::string(filled, '#'), std::string(bar - filled, '.'),
                     *fitting);
}

std::unique_ptr<RunObserver> make_progress(bool on_terminal) {
  return std::make_unique<Progress>(on_terminal);
}

std::unique_ptr<RunObserver> make_long_run_notice(bool on_cpu, double epochs) {
  return std::make_unique<LongRunNotice>(on_cpu, epochs);
}

}  // namespace lora_dist
