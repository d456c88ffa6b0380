#include "launcher/run/progress.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace lora_dist {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kBarWidth = 24;
constexpr double kLineEvery_s = 5;  // between plain lines, so that a log file stays readable

class Progress final : public RunObserver {
 public:
  explicit Progress(bool on_terminal) : on_terminal_(on_terminal) {}

  void on_begin(int64_t first_step, int64_t num_steps) override {
    first_step_ = first_step;
    num_steps_ = num_steps;
    start_ = last_line_ = Clock::now();
  }

  void on_step(const StepMetrics& metrics) override {
    tokens_ += metrics.tokens;
    const double elapsed = seconds_since(start_);
    const auto done = static_cast<double>(metrics.step - first_step_ + 1);
    const double left = elapsed / done * static_cast<double>(num_steps_ - metrics.step);
    const std::string text =
        fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  {} left",
                    metrics.step, num_steps_, metrics.epoch, metrics.loss, metrics.learning_rate,
                    static_cast<double>(tokens_) / elapsed, duration_text(left));
    const bool last = metrics.step == num_steps_;
    if (on_terminal_) {
      const auto filled =
          static_cast<size_t>(kBarWidth * metrics.step / std::max<int64_t>(1, num_steps_));
      print(fmt::format("\r\033[K[{}{}] {}{}", std::string(filled, '#'),
                        std::string(kBarWidth - filled, '.'), text, last ? "\n" : ""));
    } else if (metrics.step == first_step_ || last || seconds_since(last_line_) >= kLineEvery_s) {
      print(text + "\n");
      last_line_ = Clock::now();
    }
  }

  void on_eval(const EvalMetrics& metrics) override {
    print(fmt::format("{}step {}  held-out loss {:.4f}  perplexity {:.2f}\n",
                      on_terminal_ ? "\r\033[K" : "", metrics.step, metrics.loss,
                      std::exp(metrics.loss)));
  }

 private:
  static double seconds_since(Clock::time_point then) {
    return std::chrono::duration<double>(Clock::now() - then).count();
  }
  static void print(const std::string& text) {
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
  }

  bool on_terminal_;
  int64_t first_step_ = 1, num_steps_ = 0, tokens_ = 0;
  Clock::time_point start_, last_line_;
};

}  // namespace

std::unique_ptr<RunObserver> make_progress(bool on_terminal) {
  return std::make_unique<Progress>(on_terminal);
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

}  // namespace lora_dist
