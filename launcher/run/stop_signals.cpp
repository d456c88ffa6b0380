#include "launcher/run/stop_signals.hpp"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/unfinished.hpp"

namespace lora_dist {
namespace {

// A step that is longer deserves a word that the request was heard.
constexpr timespec kUnnoticed = {.tv_sec = 2, .tv_nsec = 0};

std::atomic<bool> stop_requested = false, interrupted = false, leaving = false;
std::atomic<bool> first_is_callers = false;

std::mutex stop_mutex;  // guards the two below
std::string stop_meaning;
std::function<void()> stop_clean_up;

[[noreturn]] void leave_at_once() {
  leaving = true;
  std::string meaning;
  std::function<void()> clean_up;
  {
    const std::lock_guard lock(stop_mutex);
    meaning = stop_meaning;
    clean_up = stop_clean_up;
  }
  remove_unfinished();
  if (clean_up) clean_up();
  log_info("stopped on request; " + meaning);
  flush_log();
  _exit(exit_code_of_stop(kExitStopped));
}

[[noreturn]] void watch(sigset_t signals) {
  bool is_heard = false;
  for (;;) {
    const bool may_be_slow = stop_requested && !is_heard;
    const int signal =
        may_be_slow ? sigtimedwait(&signals, nullptr, &kUnnoticed) : sigwaitinfo(&signals, nullptr);
    if (signal < 0) {
      if (may_be_slow && errno == EAGAIN) {
        is_heard = true;
        log_info("stopping after this step; asked once more, at once");
      }
      continue;
    }
    end_status();  // a terminal shows ^C where the line ends
    if (signal == SIGINT) interrupted = true;
    // USR1 is how launchers pass a request on, perhaps more than once.
    const bool again = stop_requested.exchange(true) && signal != SIGUSR1 && signal != SIGHUP;
    if (!first_is_callers || again) leave_at_once();
  }
}

sigset_t signals_to_watch() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) sigaddset(&signals, signal);
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

void watch_stop_signals(const std::string& meaning) {
  static std::once_flag once;
  {
    const std::lock_guard lock(stop_mutex);
    stop_meaning = meaning;
  }
  std::call_once(once, [] {
    const sigset_t signals = signals_to_watch();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread([signals] { watch(signals); }).detach();
  });
}

const std::atomic<bool>& stop_after_step(const std::string& meaning) {
  const std::lock_guard lock(stop_mutex);
  stop_meaning = meaning;
  stop_clean_up = nullptr;
  first_is_callers = true;
  return stop_requested;
}

void clean_up_when_stopped(std::function<void()> clean_up) {
  const std::lock_guard lock(stop_mutex);
  stop_clean_up = std::move(clean_up);
}

int exit_code_of_stop(int code) {
  const bool was_stopped = code == kExitStopped || code == 0;
  return was_stopped && interrupted ? kExitInterrupted : code;
}

void wait_if_leaving() {
  while (leaving) std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace lora_dist
