#include "core/log.hpp"

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
};

LogState& state() {
  static LogState instance;
  return instance;
}

void to_terminal(const char* prefix, const std::string& text) {
  // One call per line, so that lines of several processes do not mix.
  std::fputs((prefix + text + "\n").c_str(), stderr);
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
    log.file->flush_on(spdlog::level::warn);
  } catch (const spdlog::spdlog_ex& failure) {
    // A log is not worth a run (reliability, rules for every file).
    to_terminal("warning: ", options.file + ": log is off (" + failure.what() + ")");
  }
}

void log_info(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.rank == 0) to_terminal("", text);
  if (log.file) log.file->info(text);
}

void log_warning(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (!log.warned.insert(text).second) return;
  if (log.rank == 0) to_terminal("warning: ", text);
  if (log.file) log.file->warn(text);
}

void log_debug(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.file) log.file->debug(text);
}

void log_error(const std::string& text) {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  to_terminal("error: ", text);
  if (log.file) log.file->error(text);
}

void flush_log() {
  LogState& log = state();
  const std::lock_guard lock(log.mutex);
  if (log.file) log.file->flush();
}

}  // namespace lora_dist
