#include "launcher/failure.hpp"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include <c10/util/Exception.h>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/run/stop_signals.hpp"

namespace lora_dist {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Failure out_of_memory(const std::string& detail) {
  return {.exit_code = MemoryError({}).exit_code(),
          .text =
              "memory: not enough; lower batch_size or max_seq_length, or set "
              "gradient_checkpointing: true",
          .detail = detail};
}

Failure internal(const std::string& found, const std::string& detail) {
  return {.exit_code = kExitInternal,
          .text = "internal error: " + first_line(found) + "; please report this",
          .detail = detail};
}

/// The launcher ends all ranks when the first one leaves. A rank that is not to speak gives rank 0
/// time to be heard. Where the launcher would have ended us meanwhile and has not, rank 0 has not
/// failed: the fault is ours alone and must be told after all. srun lets the others live, so there
/// we stay silent.
bool has_to_speak_after_waiting(const WorldInfo& world) {
  std::signal(SIGTERM, SIG_DFL);
  sigset_t term;  // it was another thread's to wait for
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_UNBLOCK, &term, nullptr);
  std::this_thread::sleep_for(std::chrono::seconds(5));
  return world.launcher != "srun";
}

void tell(const Failure& failure) {
  if (!failure.detail.empty()) log_debug(failure.detail);
  if (prints_errors()) {
    log_error(failure.text);
    return;
  }
  const WorldInfo world = detect_world();
  if (!has_to_speak_after_waiting(world)) return;
  // Errors of communicators name their rank themselves.
  const std::string rank =
      failure.text.starts_with("[rank ")
          ? ""
          : fmt::format("[rank {}/{} {}] ", world.rank, world.world_size, world.host);
  log_error(rank + failure.text);
}

}  // namespace

Failure describe_failure(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {.exit_code = error.exit_code(), .text = error.what(), .detail = ""};
  } catch (const c10::Error& error) {
    if (is_out_of_memory(error)) return out_of_memory(error.what());
    return internal(error.msg(), error.what());
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) return out_of_memory(error.what());
    return internal(error.what(), "");
  } catch (...) {
    return internal("an exception without a text", "");
  }
}

bool prints_errors() {
  try {
    return detect_world().rank == 0;
  } catch (const Error&) {
    return true;  // the fault is in where we are, and known to this process alone
  }
}

void run_and_leave(const std::function<int()>& work) {
  int exit_code = 0;
  try {
    exit_code = work();
  } catch (...) {
    wait_if_leaving();
    const Failure failure = describe_failure(std::current_exception());
    tell(failure);
    exit_code = failure.exit_code;
  }
  flush_log();
  std::fflush(nullptr);
  _exit(exit_code);
}

}  // namespace lora_dist
