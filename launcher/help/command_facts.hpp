// Commands and their options as tables, read from what the commands declare: help, man page and
// completion are made of them, so that none can leave one out.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lora_dist {

struct OptionFacts {
  std::string name;        // "--ranks"; of a positional argument its name alone
  std::string short_name;  // "-h"; mostly empty
  std::string value;       // "FILE", "N"; empty for a flag
  std::string help;
  bool is_positional = false;
  bool is_required = false;
  bool takes_path = false;
};

struct CommandFacts {
  std::string name;
  std::string help;
  std::vector<OptionFacts> options;
  bool takes_config = false;  // --config, and keys as key=value
};

/// The options that `app` was given, in order.
std::vector<OptionFacts> option_facts(const CLI::App& app);
/// Every command of the program.
std::vector<CommandFacts> command_facts();
/// "--ranks N", "FILE key=value".
std::string spelled_out(const OptionFacts& option);

}  // namespace lora_dist
