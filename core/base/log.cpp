#include "core/base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <set>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

namespace lora_dist {
namespace {

struct LogState {
  std::mutex mutex;
  int rank = 0;
  std::shared_ptr<spdlog::logger> file;
  std::set<std::string> warned;
  std::vector<std::pair<spdlog::level::level_enum, std::string>> before_file;
};

std::atomic<bool> status_is_open = false;
static_assert(std::atomic<bool>::is_always_lock_free, "read in signal handlers");
constexpr size_t kLinesBeforeFile = 1000;  // of a command that opens no file, the rest is dropped

LogState& state() {
  static LogState instance;
  return instance;
}

void to_terminal(const char* prefix, const std::string& text) {
  // One call per line, so that lines of several processes do not mix.
  std::fputs(
      (std::string(status_is_open.exchange(false) ? "\n" : "") + prefix + text + "\n").c_str(),
      stderr);
}

void to_file(LogState& log, spdlog::level::level_enum level, const std::string& text) {
  if (log.file)
    log.file->log(level, text);
  else if (log.before_file.size() < kLinesBeforeFile)
    log.before_file.emplace_back(level, text);
}

}  // namespace

void open_log(const LogOptions& options) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  log.rank = options.rank;
  log.file.reset();
  if (options.file.empty()) return;
  try {
    auto sink =
        std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file, /*truncate=*/false);
    log.file = std::make_shared<spdlog::logger>("rank", std::move(sink));
    log.file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    log.file->set_level(spdlog::level::debug);
    log.file->flush_on(spdlog::level::info);
    for (const auto& [level, text] : log.before_file) log.file->log(level, text);
    log.before_file.clear();
  } catch (const spdlog::spdlog_ex& failure) {
    // A log is not worth a run (reliability, rules for every file).
    to_terminal("warning: ", options.file + ": log is off (" + failure.what() + ")");
  }
}

void log_info(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.rank == 0) to_terminal("", text);
  to_file(log, spdlog::level::info, text);
}

void log_warning(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (!log.warned.insert(text).second) return;
  if (log.rank == 0) to_terminal("warning: ", text);
  to_file(log, spdlog::level::warn, text);
}

void log_debug(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  to_file(log, spdlog::level::debug, text);
}

void log_error(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  to_terminal("error: ", text);
  to_file(log, spdlog::level::err, text);
}

void flush_log() {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.file) log.file->flush();
}

void draw_status(const std::string& line) {
  const std::lock_guard lock(state().mutex);
  status_is_open = true;
  std::fputs(("\r" + line + "\033[K").c_str(), stderr);
  std::fflush(stderr);
}

void end_status() noexcept {
  if (!status_is_open.exchange(false)) return;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, "\n", 1);
}

}  // namespace lora_dist
