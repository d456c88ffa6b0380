#include "launcher/environments/relayed_errors.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <regex>
#include <sstream>
#include <utility>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

constexpr std::string_view kErrorLine = "error: ";  // as log_error begins one
// "mpirun: Forwarding signal 10 to job", "ssh: Could not resolve hostname b"
constexpr std::string_view kNoteLines[] = {"mpirun: ", "ssh: "};
constexpr size_t kRule = 40;  // mpirun puts its texts between lines of dashes
constexpr size_t kLongestWords = 400;
// mpirun needs about two seconds to end the ranks that are left after one was killed.
constexpr auto kErrorsWait = std::chrono::seconds(5);
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

bool is_rule(const std::string& line) {
  return line.size() >= kRule && line.find_first_not_of('-') == std::string::npos;
}

/// "[vm:16557] 3 more processes have sent help message": a library's line, of Open MPI or PMIx. Our
/// own begin with "[rank 0/2 vm]".
bool is_note(const std::string& line) {
  static const std::regex library_line(R"(\[[^\]\s:]+:\d+\] .*)");
  for (const std::string_view note : kNoteLines)
    if (line.starts_with(note)) return true;
  return std::regex_match(line, library_line);
}

/// Whether the line so far may become one that does not pass as it comes.
bool may_be_held(const std::string& begin) {
  if (begin.starts_with('[')) return true;
  if (begin.find_first_not_of('-') == std::string::npos) return true;
  const auto may_become = [&](std::string_view held) {
    return held.starts_with(begin) || begin.starts_with(held);
  };
  return may_become(kErrorLine) || std::ranges::any_of(kNoteLines, may_become);
}

/// Whether an error tells no more than that another rank is gone or silent.
bool tells_of_a_loss(const std::string& error) {
  static const std::regex loss(
      R"(error: \[rank \d+/\d+ [^\]]*\] .*(lost |no result after|did not come together).*)");
  return std::regex_match(error, loss);
}

/// One line of `text`, without mpirun's indentation.
std::string on_one_line(const std::string& text) {
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

/// Texts that only repeat that the run has ended.
bool says_nothing(const std::string& block) {
  for (const char* begin : {"Primary job", "An internal error has occurred in ORTE",
                            "mpirun detected that one or more processes exited"})
    if (block.starts_with(begin)) return true;
  return false;
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
  tell_errors();
  for (const int end : {read_end_, write_end_})
    if (end >= 0) close(end);
}

void RelayedErrors::take_over_in_child() const { dup2(write_end_, STDERR_FILENO); }

void RelayedErrors::start() {
  close(write_end_);
  write_end_ = -1;
  thread_ = std::thread([this] { relay(); });
}

void RelayedErrors::finish() {
  child_ended_ = true;
  if (thread_.joinable()) thread_.join();
}

std::optional<KilledRank> RelayedErrors::killed_rank() const {
  // "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed)."
  static const std::regex notice(R"(process rank (\d+) .*on node (\S+) exited on signal (\d+))");
  std::smatch found;
  for (const std::string& block : blocks_)
    if (std::regex_search(block, found, notice))
      return KilledRank{
          .rank = std::stoi(found[1]), .host = found[2], .signal = std::stoi(found[3])};
  return std::nullopt;
}

std::optional<std::string> RelayedErrors::lost_host() const {
  // "ORTE has lost communication with a remote daemon. HNP daemon : [[1,0],0] on node a Remote
  // daemon: [[1,0],1] on node b This is usually due to ..."
  static const std::regex notice(R"(lost communication .*Remote daemon: \S+ on node (\S+))");
  std::smatch found;
  for (const std::string& block : blocks_)
    if (std::regex_search(block, found, notice)) return found[1];
  return std::nullopt;
}

bool RelayedErrors::tell_errors() {
  const bool somebody_was_killed = killed_rank().has_value();
  for (const std::string& error : waiting_) {
    if (somebody_was_killed && tells_of_a_loss(error)) continue;
    passing_ += error + "\n";
    told_ = true;
  }
  waiting_.clear();
  write_all(STDERR_FILENO, passing_.data(), passing_.size());
  passing_.clear();
  return told_;
}

std::string RelayedErrors::words_of_mpirun() const {
  std::string words;
  for (const std::vector<std::string>* texts : {&blocks_, &notes_})
    for (const std::string& text : *texts)
      if (words.empty() && !says_nothing(text)) words = text;
  if (words.size() > kLongestWords) words = words.substr(0, kLongestWords) + " ...";
  return words;
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
    const bool has_come = poll(&readable, 1, kPoll_ms) > 0;
    if (!has_come && was_last_look) break;
    const ssize_t size = has_come ? read(read_end_, buffer, sizeof buffer) : 0;
    if (has_come && (size == 0 || (size < 0 && errno != EINTR))) break;
    for (ssize_t i = 0; i < size; ++i) take(buffer[i]);
    pass_on_late_errors();
    write_all(STDERR_FILENO, passing_.data(), passing_.size());
    passing_.clear();
  }
  if (!line_.empty()) end_line();
}

void RelayedErrors::take(char character) {
  if (character == '\n') return end_line();
  line_ += character;
  if (in_block_) return;
  if (line_passes_) {
    passing_ += character;
  } else if (!may_be_held(line_)) {
    passing_ += line_;
    line_passes_ = true;
  }
}

void RelayedErrors::end_line() {
  const std::string line = std::exchange(line_, {});
  const bool passed = std::exchange(line_passes_, false);
  if (passed) {
    passing_ += '\n';
  } else if (is_rule(line)) {
    in_block_ = !in_block_;
    if (in_block_) blocks_.emplace_back();
  } else if (in_block_) {
    blocks_.back() = on_one_line(blocks_.back() + "\n" + line);
  } else if (line.starts_with(kErrorLine)) {
    if (waiting_.empty()) waiting_since_ = std::chrono::steady_clock::now();
    waiting_.push_back(line);
  } else if (is_note(line)) {
    notes_.push_back(on_one_line(line));
  } else {
    passing_ += line + "\n";
  }
}

void RelayedErrors::pass_on_late_errors() {
  if (waiting_.empty() || std::chrono::steady_clock::now() - waiting_since_ < kErrorsWait) return;
  for (const std::string& error : waiting_) passing_ += error + "\n";
  waiting_.clear();
  told_ = true;
}

}  // namespace lora_dist
