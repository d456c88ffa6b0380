// From argv to a command that has run.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

struct CommandLine {
  std::string command;                 // "" where none was given
  std::vector<std::string> arguments;  // what follows it
};

/// The first argument names the command. An option, a config file or a key=value in its place means
/// `train`; --help and --version mean the commands of that name.
CommandLine split_command_line(const std::vector<std::string>& arguments);

/// Finds the command, parses its options, runs it, returns its exit code.
/// Errors  ConfigError: unknown command or option (with the nearest name), missing or wrong value.
int run_command_line(const std::vector<std::string>& arguments);

}  // namespace lora_dist
