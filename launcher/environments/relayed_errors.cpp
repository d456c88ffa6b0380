#include "launcher/environments/relayed_errors.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.hpp"

namespace lora_dist {
namespace {

constexpr std::string_view kErrorLine = "error: ";  // as log_error begins one
// How often the end of the child is looked for, and how long a process that outlives it, and holds
// the pipe open, may stay silent.
constexpr int kPoll_ms = 100;

void write_all(int descriptor, const char* text, size_t size) {
  while (size > 0) {
    const ssize_t written = write(descriptor, text, size);
    if (written < 0 && errno != EINTR) return;
    if (written > 0) {
      text += written;
      size -= static_cast<size_t>(written);
    }
  }
}

}  // namespace

RelayedErrors::RelayedErrors() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw MemoryError({.where = "--ranks",
                       .found = fmt::format("cannot make a pipe: {}", std::strerror(errno)),
                       .expected = {},
                       .fix = "raise the limit of open files"});
  read_end_ = ends[0];
  write_end_ = ends[1];
}

RelayedErrors::~RelayedErrors() {
  finish();
  for (const int end : {read_end_, write_end_})
    if (end >= 0) close(end);
}

void RelayedErrors::take_over_in_child() const { dup2(write_end_, STDERR_FILENO); }

void RelayedErrors::start() {
  close(write_end_);
  write_end_ = -1;
  thread_ = std::thread([this] { relay(); });
}

bool RelayedErrors::finish() {
  child_ended_ = true;
  if (thread_.joinable()) thread_.join();
  return told_;
}

void RelayedErrors::relay() {
  // Nobody may read our standard error any more; the ranks train on.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  char buffer[4096];
  for (;;) {
    pollfd readable{read_end_, POLLIN, 0};
    const bool was_last_look = child_ended_;
    if (poll(&readable, 1, kPoll_ms) <= 0) {
      if (was_last_look) return;
      continue;
    }
    const ssize_t size = read(read_end_, buffer, sizeof buffer);
    if (size == 0 || (size < 0 && errno != EINTR)) return;
    if (size < 0) continue;
    write_all(STDERR_FILENO, buffer, static_cast<size_t>(size));
    look_through(buffer, static_cast<size_t>(size));
  }
}

void RelayedErrors::look_through(const char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (text[i] == '\n') {
      line_.clear();
    } else if (line_.size() < kErrorLine.size()) {
      line_ += text[i];
      told_ = told_ || line_ == kErrorLine;
    }
  }
}

}  // namespace lora_dist
