// Standard error of a child and of its processes, passed on to ours and looked through on the way:
// did any of them say why the run ends? One that was killed cannot.
#pragma once

#include <atomic>
#include <string>
#include <thread>

namespace lora_dist {

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
  /// After the child's end: passes on what is left and says whether a line told an error.
  bool finish();

 private:
  void relay();
  void look_through(const char* text, size_t size);

  int read_end_ = -1, write_end_ = -1;
  std::thread thread_;
  std::atomic<bool> child_ended_ = false;
  std::string line_;  // the last one, as far as it has come
  bool told_ = false;
};

}  // namespace lora_dist
