// What a person sees while training: one line in place with loss, rate and time left on a terminal,
// plain lines elsewhere, and those in the log file too.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/sockets/run_observer.hpp"

namespace lora_dist {

/// Writes to standard error. NO_COLOR and the like do not matter: no colour is used.
std::unique_ptr<RunObserver> make_progress(bool on_terminal);

struct ProgressFacts {
  int64_t step = 0, num_steps = 0;
  double epoch = 0, loss = 0, learning_rate = 0;
  std::optional<double> held_out_loss;
  double tokens_per_second = 0;
  double seconds_left = 0;
};
/// Everything, for a log file.
std::string progress_text(const ProgressFacts& facts);
/// ASCII of at most `width` characters: what matters most stays longest, and a bar fills what is
/// left.
std::string progress_line(const ProgressFacts& facts, size_t width);

/// A line once, when the first steps say that a run on the CPU takes hours: how many, and which
/// settings would take fewer. `on_cpu` false: never.
std::unique_ptr<RunObserver> make_long_run_notice(bool on_cpu, double epochs);

}  // namespace lora_dist
