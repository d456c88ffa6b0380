// The registry of sub-commands: one file and one line in commands.def for each.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/registry.hpp"

namespace CLI {
class App;
}

namespace lora_dist {

class Command {
 public:
  virtual ~Command() = default;
  /// Declares the command's options on its own CLI11 sub-command.
  virtual void declare(CLI::App& app) = 0;
  /// Does the work and returns the exit code; user-facing failures are thrown as Error.
  virtual int run() = 0;
};

struct CommandEntry {
  std::string help;  // one line of --help
  std::function<std::unique_ptr<Command>()> make;
};
const Registry<CommandEntry>& commands();

}  // namespace lora_dist
