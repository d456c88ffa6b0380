// The pages of `lora-dist help`, in 79 columns.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace lora_dist {

/// The text of `lora-dist --help`.
std::string program_help();
/// The text of `lora-dist COMMAND --help`; `app` has the command's options.
std::string command_help(const CLI::App& app);
/// The page of a command, of `keys`, or of one key of the config file.
/// Errors  ConfigError with the nearest name.
std::string help_about(const std::string& topic);

/// The manual page in roff: commands, options, keys, exit codes.
std::string man_page();
/// The script that completes commands, options and keys in `shell`: bash, zsh or fish.
/// Errors  ConfigError: another shell.
std::string completion_script(const std::string& shell);

}  // namespace lora_dist
