// Runs a program and keeps what it said.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/support/temp_folder.hpp"

namespace lora_dist {

struct ProgramResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string standard_output;
  std::string standard_error;
};

/// `arguments[0]` is the program, looked up in PATH; it runs in `folder`.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& folder);

/// The same, still running. One that is not awaited is killed.
class RunningProgram {
 public:
  RunningProgram(const std::vector<std::string>& arguments, const std::string& folder);
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void send(int signal) const;
  ProgramResult wait();

 private:
  TempFolder streams_;  // files, not pipes: nothing has to be read while the program runs
  pid_t child_ = -1;
};

/// Whether PATH holds an executable of that name.
bool is_installed(const std::string& program);

}  // namespace lora_dist
