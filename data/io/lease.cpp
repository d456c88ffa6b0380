#include "data/io/lease.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/file.h>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/io/files.hpp"
#include "data/io/unfinished.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLeaseBytes = 4096;
constexpr size_t kRunIdDigits = 16;

std::string first_line_of(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path) >> std::ws, line);
  return line;
}

/// State letter and start time of a process; nothing where there is none.
struct ProcessFacts {
  char state = '?';
  int64_t start = 0;
};
std::optional<ProcessFacts> look_at_process(int64_t pid) {
  const std::string stat = first_line_of(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  ProcessFacts facts;
  std::string skipped;
  fields >> facts.state;  // field 3
  for (int i = 4; i <= 21; ++i) fields >> skipped;
  fields >> facts.start;
  return facts;
}

std::string link_target(const char* path) {
  std::error_code ignored;
  return fs::read_symlink(path, ignored).string();
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

/// Always of one length for one holder, so that it is rewritten in place by a single write.
std::string lease_text(const LeaseHolder& holder) {
  const nlohmann::ordered_json json = {{"run_id", holder.run_id},
                                       {"host", holder.host},
                                       {"pid", holder.pid},
                                       {"started", holder.started},
                                       {"boot_id", holder.boot_id},
                                       {"pid_namespace", holder.pid_namespace},
                                       {"process_start", holder.process_start},
                                       {"job", holder.job},
                                       {"job_start", holder.job_start},
                                       {"epoch", holder.epoch},
                                       {"nonce", holder.nonce},
                                       {"counter", fmt::format("{:012}", holder.counter)}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

/// Nothing where the text is torn or of something else.
std::optional<LeaseHolder> parse_lease(const std::string& text) {
  try {
    const auto json = nlohmann::json::parse(text);
    LeaseHolder holder;
    json.at("run_id").get_to(holder.run_id);
    json.at("host").get_to(holder.host);
    json.at("pid").get_to(holder.pid);
    json.at("started").get_to(holder.started);
    json.at("boot_id").get_to(holder.boot_id);
    json.at("pid_namespace").get_to(holder.pid_namespace);
    json.at("process_start").get_to(holder.process_start);
    json.at("job").get_to(holder.job);
    json.at("job_start").get_to(holder.job_start);
    json.at("epoch").get_to(holder.epoch);
    json.at("nonce").get_to(holder.nonce);
    return holder;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

std::string describe(const std::optional<LeaseHolder>& holder) {
  if (!holder) return "a process that left no readable name";
  const bool is_known = holder->run_id.find_first_not_of('0') != std::string::npos;
  return fmt::format("{} (host {}, process {}, started {})",
                     is_known ? "run " + holder->run_id : "another run", holder->host, holder->pid,
                     holder->started);
}

enum class Verdict { alive, dead, unknown };

Verdict judge(const std::optional<LeaseHolder>& holder, const LeaseHolder& self) {
  if (!holder) return Verdict::unknown;
  if (!self.job.empty() && holder->job == self.job && holder->job_start < self.job_start)
    return Verdict::dead;  // the batch system runs a job once at a time
  const bool is_asked = !self.boot_id.empty() && holder->boot_id == self.boot_id &&
                        holder->pid_namespace == self.pid_namespace;
  if (!is_asked) return Verdict::unknown;
  const std::optional<ProcessFacts> found = look_at_process(holder->pid);
  const bool lives =
      found && found->start == holder->process_start && found->state != 'Z' && found->state != 'X';
  return lives ? Verdict::alive : Verdict::dead;
}

void pause(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// Keeps processes of one host from taking over at the same moment. Some network file systems know
/// no locks on folders: there the look after a take-over has to do.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder)
      : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries && descriptor_ >= 0; ++i) {
      if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
      pause(0.05);
    }
  }
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

[[noreturn]] void fail_lease(const std::string& path, int error) {
  throw StorageError({.where = path,
                      .found = fmt::format("cannot be written ({})", std::strerror(error)),
                      .expected = {},
                      .fix = "choose another output_dir"});
}

/// A new file with the text, durable; its open descriptor.
int write_lease_file(const std::string& path, const std::string& text) {
  const int descriptor = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (descriptor < 0) return -1;
  const bool written =
      ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      ::fsync(descriptor) == 0;
  if (written) return descriptor;
  const int error = errno;
  ::close(descriptor);
  ::unlink(path.c_str());
  errno = error;
  return -1;
}

class FileLease final : public RunLease {
 public:
  explicit FileLease(const LeaseOptions& options)
      : options_(options),
        self_(options.self),
        path_((fs::path(options.output_dir) / kLeaseFile).string()) {
    self_.nonce = random_nonce();
    if (self_.run_id.empty()) self_.run_id = std::string(kRunIdDigits, '0');
    acquire_file();
    note_unfinished(path_);  // a process that is told to leave at once takes it along
    thread_ = std::thread([this] { keep_alive(); });
  }

  ~FileLease() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    note_finished(path_);
    const FolderLock lock(options_.output_dir);
    if (is_ours(read_text())) ::unlink(path_.c_str());
    ::close(descriptor_);
  }

  void name_run(const std::string& run_id) override {
    const std::lock_guard lock(mutex_);
    if (run_id.size() == kRunIdDigits) self_.run_id = run_id;
    rewrite();
  }

  void require_held() override {
    const std::optional<std::string> text = read_text();
    if (is_ours(text)) return;
    if (!text && !fs::is_directory(options_.output_dir))
      throw StorageError({.where = folder_label(options_.output_dir),
                          .found = "is gone",
                          .expected = "the run folder",
                          .fix = "start again; nothing was saved since the last checkpoint"});
    if (!text && put_back()) return;
    is_lost_ = true;
    throw LockedError(
        {.where = folder_label(options_.output_dir),
         .found = fmt::format("was taken over by {}", describe(parse_lease(text.value_or("")))),
         .expected = fmt::format("this run, process {}", self_.pid),
         .fix = "this process leaves without another save; the other one goes on"});
  }

  bool is_lost() const override { return is_lost_; }
  int64_t epoch() const override { return self_.epoch; }

 private:
  bool is_ours(const std::optional<std::string>& text) const {
    return text && text->find(self_.nonce) != std::string::npos;
  }

  /// Opened anew each time; nothing where there is no file, "" where it cannot be read.
  std::optional<std::string> read_text() const {
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return errno == ENOENT ? std::nullopt : std::optional<std::string>("");
    std::string text(kMaxLeaseBytes, '\0');
    const ssize_t size = ::read(descriptor, text.data(), text.size());
    ::close(descriptor);
    text.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return text;
  }

  void acquire_file() {
    for (;;) {
      std::optional<std::string> seen;
      {
        const FolderLock lock(options_.output_dir);
        if (create()) return;
        seen = read_text();
        if (!seen) continue;  // released between the two looks
        if (seen->empty()) require_readable();
        const Verdict verdict = judge(parse_lease(*seen), self_);
        if (verdict == Verdict::alive) refuse(*seen);
        if (verdict == Verdict::dead) {
          take_over(*seen);
          return;
        }
      }
      if (!outlive(*seen)) continue;
      {
        const FolderLock lock(options_.output_dir);
        if (read_text() != seen) continue;
        take_over(*seen);
      }
      pause(options_.settle_s);
      if (is_ours(read_text())) return;
      ::close(std::exchange(descriptor_, -1));
    }
  }

  /// The file appears with its whole text or not at all, and only where there was none.
  bool create() {
    const std::string temporary = temporary_name(path_);
    descriptor_ = write_lease_file(temporary, lease_text(self_));
    if (descriptor_ < 0) fail_lease(path_, errno);
    const int error = ::link(temporary.c_str(), path_.c_str()) == 0 ? 0 : errno;
    ::unlink(temporary.c_str());
    if (error == 0) return true;
    ::close(std::exchange(descriptor_, -1));
    if (error == EEXIST) return false;
    descriptor_ = write_lease_file(path_, lease_text(self_));  // a file system without hard links
    if (descriptor_ < 0 && errno != EEXIST) fail_lease(path_, errno);
    return descriptor_ >= 0;
  }

  void require_readable() const {
    if (::access(path_.c_str(), R_OK) == 0 || errno != EACCES) return;
    throw LockedError({.where = path_,
                       .found = "cannot be read: it is another user's",
                       .expected = "one run per folder",
                       .fix = "choose another output_dir"});
  }

  bool put_back() {
    const std::lock_guard lock(mutex_);
    ::close(std::exchange(descriptor_, -1));
    return create();
  }

  [[noreturn]] void refuse(const std::string& text) const {
    throw LockedError(
        {.where = folder_label(options_.output_dir),
         .found = fmt::format("held by {}, which is alive", describe(parse_lease(text))),
         .expected = "one run per folder",
         .fix = "wait until it ends, stop it, or choose another output_dir"});
  }

  /// Watches a holder that cannot be asked: true where its counter stood still all the time, false
  /// where the file went away. Errors  LockedError: it counts.
  bool outlive(const std::string& seen) const {
    const auto start = std::chrono::steady_clock::now();
    log_info(fmt::format("{}: held by {}; watching for {:.0f} s whether it is alive",
                         folder_label(options_.output_dir), describe(parse_lease(seen)),
                         options_.watch_s));
    while (std::chrono::steady_clock::now() - start <
           std::chrono::duration<double>(options_.watch_s)) {
      pause(options_.poll_s);
      const std::optional<std::string> now = read_text();
      if (!now) return false;
      if (*now != seen) refuse(*now);
    }
    return true;
  }

  void take_over(const std::string& seen) {
    const std::optional<LeaseHolder> former = parse_lease(seen);
    self_.epoch = (former ? former->epoch : 0) + 1;
    const std::string temporary = temporary_name(path_);
    descriptor_ = write_lease_file(temporary, lease_text(self_));
    if (descriptor_ < 0) fail_lease(path_, errno);
    if (::rename(temporary.c_str(), path_.c_str()) != 0) fail_lease(path_, errno);
    sync_folder(options_.output_dir);
    log_info(fmt::format("{}: took over from {}, which is gone", folder_label(options_.output_dir),
                         describe(former)));
  }

  void keep_alive() {
    sigset_t all;  // signals are the training thread's
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::duration<double>(options_.bump_s),
                              [this] { return stopping_; })) {
      const std::optional<std::string> text = read_text();
      if (text && !text->empty() && !is_ours(text)) is_lost_ = true;
      if (is_lost_) return note_finished(path_);  // it is another's
      ++self_.counter;
      rewrite();
    }
  }

  /// Into the file that this process made, whatever the name stands for by now: another holder's is
  /// never touched. A write that fails shows as a counter that stands still.
  void rewrite() {
    const std::string text = lease_text(self_);
    if (::pwrite(descriptor_, text.data(), text.size(), 0) < 0) return;
    ::fsync(descriptor_);
  }

  const LeaseOptions options_;
  LeaseHolder self_;
  const std::string path_;
  int descriptor_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::atomic<bool> is_lost_ = false;
  std::thread thread_;  // last: starts when all the rest is there
};

}  // namespace

LeaseHolder this_process() {
  LeaseHolder self;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  self.host = host;
  self.boot_id = first_line_of("/proc/sys/kernel/random/boot_id");
  self.pid_namespace = link_target("/proc/self/ns/pid");
  self.pid = ::getpid();
  if (const auto facts = look_at_process(self.pid)) self.process_start = facts->start;
  self.started = utc_now();
  return self;
}

std::unique_ptr<RunLease> RunLease::acquire(const LeaseOptions& options) {
  return std::make_unique<FileLease>(options);
}

}  // namespace lora_dist
