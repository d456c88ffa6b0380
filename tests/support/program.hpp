// Runs a program to its end and keeps what it said.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

struct ProgramResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string standard_output;
  std::string standard_error;
};

/// `arguments[0]` is the program, looked up in PATH; it runs in `folder`.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& folder);

/// Whether PATH holds an executable of that name.
bool is_installed(const std::string& program);

}  // namespace lora_dist
