#include "launcher/run/stop_signals.hpp"

#include <csignal>

namespace lora_dist {
namespace {

std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

void on_signal(int signal) {
  if (signal == SIGINT && stop_requested.load()) std::signal(SIGINT, SIG_DFL), std::raise(SIGINT);
  stop_requested.store(true);
}

}  // namespace

const std::atomic<bool>& watch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGUSR1, SIGHUP, SIGINT}) sigaction(signal, &action, nullptr);
  return stop_requested;
}

}  // namespace lora_dist
