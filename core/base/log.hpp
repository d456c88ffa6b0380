// Messages to the person at the terminal (standard error) and to the rank's log file. spdlog stays
// behind this header.
#pragma once

#include <string>

namespace lora_dist {

struct LogOptions {
  int rank = 0;
  int world_size = 1;
  std::string file;  // logs/rank-<r>.log; empty: standard error only
};

/// Ranks   each for itself; only rank 0 writes info lines to standard error, every rank writes its
/// file. The file is appended to, and begins with what was said before it was opened.
void open_log(const LogOptions& options);
void log_info(const std::string& text);
/// Standard error gets "warning: <text>", once per distinct text.
void log_warning(const std::string& text);
/// Goes to the rank's log file only.
void log_debug(const std::string& text);
/// "error: <text>" on standard error, from whichever rank calls it.
void log_error(const std::string& text);
void flush_log();

/// Draws `line` in place of the status line before it; the next message ends it with a newline. For
/// a terminal only. `line` is ASCII and shorter than the terminal is wide.
///
/// Ranks   rank 0.
void draw_status(const std::string& line);
/// Ends an open status line. Safe in a signal handler.
void end_status() noexcept;

}  // namespace lora_dist
