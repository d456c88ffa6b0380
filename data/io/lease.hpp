// One writer per run folder: the file .lora-dist.lock in it says who (reliability 3.4).
//
// The holder rewrites a counter in the file every few seconds. A newcomer on the same host asks the
// kernel whether the holder lives; from anywhere else it watches the counter, by its own clock, and
// opens the file anew for each look, as NFS wants it. Clocks of two hosts are never compared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace lora_dist {

inline constexpr const char* kLeaseFile = ".lora-dist.lock";

struct LeaseHolder {
  std::string nonce;   // of this acquisition: no two are alike
  std::string run_id;  // 16 hex digits, zeros until the run is known
  std::string host;
  std::string boot_id;        // of the kernel
  std::string pid_namespace;  // process numbers mean something inside it only
  int64_t pid = 0;
  int64_t process_start = 0;  // in the kernel's ticks since boot: tells two processes of one number
  std::string started;        // wall time, for people
  std::string job;            // of a batch system, or empty
  int64_t job_start = 0;      // how often it has put the job back into its queue
  int64_t epoch = 1;          // grows with every take-over
  int64_t counter = 0;        // grows while the holder lives
};

/// This process, at this moment, in no job.
LeaseHolder this_process();

struct LeaseOptions {
  std::string output_dir;
  LeaseHolder self;     // as this_process() gives it, and the job
  double bump_s = 5;    // between two rewritings of the counter
  double watch_s = 60;  // without a change after which a holder that cannot be asked counts as dead
  double poll_s = 1;    // between two looks
  double settle_s = 1;  // after such a take-over: of two that took over at once one finds out here
};

/// Held from acquire() to its end; a thread of it keeps the counter going.
///
/// Ranks  rank 0 has one.
class RunLease {
 public:
  /// Errors  LockedError naming host, process and start of the holder that is alive; StorageError.
  static std::unique_ptr<RunLease> acquire(const LeaseOptions& options);

  virtual ~RunLease() = default;  // removes the file, unless it has become another's
  RunLease(const RunLease&) = delete;
  RunLease& operator=(const RunLease&) = delete;

  /// Writes the run into the file, for whoever is refused.
  virtual void name_run(const std::string& run_id) = 0;
  /// Reads the file. Errors  LockedError: another process has taken over; StorageError: the folder
  /// is gone.
  virtual void require_held() = 0;
  /// What the thread has seen, without a look at the disk.
  virtual bool is_lost() const = 0;
  virtual int64_t epoch() const = 0;

 protected:
  RunLease() = default;
};

}  // namespace lora_dist
