// Standard error of mpirun and of its ranks on the way to ours: what ranks say passes, mpirun's own
// words are kept back, for they are twenty lines where one will do.
//
// A rank's error waits for the end of the run, a few seconds at most: where another rank was killed
// it only tells of the loss, and who starts the ranks can name the cause.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace lora_dist {

/// A rank that a signal ended, as mpirun noticed it.
struct KilledRank {
  int rank = 0;
  std::string host;
  int signal = 0;
};

class RelayedErrors {
 public:
  /// Errors  MemoryError: no pipe to be had.
  RelayedErrors();
  ~RelayedErrors();
  RelayedErrors(const RelayedErrors&) = delete;
  RelayedErrors& operator=(const RelayedErrors&) = delete;

  /// In the child, before it becomes another program.
  void take_over_in_child() const;
  /// In the parent, once, after the fork.
  void start();
  /// After the child's end: reads what is left.
  void finish();

  // After finish().

  /// The first rank that mpirun saw end by a signal.
  std::optional<KilledRank> killed_rank() const;
  /// The host whose connection mpirun saw break.
  std::optional<std::string> lost_host() const;
  /// Passes on the errors that waited, but not those that only tell of the loss of a killed rank.
  /// Returns whether a rank's error was told, now or before.
  bool tell_errors();
  /// What mpirun itself had to say, on one line; empty where that was nothing.
  std::string words_of_mpirun() const;

 private:
  void relay();
  void take(char character);
  void end_line();
  void pass_on_late_errors();

  int read_end_ = -1, write_end_ = -1;
  std::thread thread_;
  std::atomic<bool> child_ended_ = false;

  std::string line_;          // the last one, as far as it has come
  bool line_passes_ = false;  // it is nobody's error and not mpirun's: it goes on as it comes
  std::string passing_;       // what goes on with the next write
  bool in_block_ = false;     // between two of mpirun's rules
  std::vector<std::string> blocks_, notes_;  // mpirun's words: between rules, and single lines
  std::vector<std::string> waiting_;         // errors of ranks
  std::chrono::steady_clock::time_point waiting_since_;
  bool told_ = false;
};

}  // namespace lora_dist
