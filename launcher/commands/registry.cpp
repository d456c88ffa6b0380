#include "launcher/commands/command.hpp"

namespace lora_dist {

#define LORA_DIST_COMMAND(name, help) std::unique_ptr<Command> make_##name##_command();
#include "launcher/commands/commands.def"
#undef LORA_DIST_COMMAND

const Registry<CommandEntry>& commands() {
  static const Registry<CommandEntry> registry("command", {
#define LORA_DIST_COMMAND(name, help) {#name, CommandEntry{help, make_##name##_command}},
#include "launcher/commands/commands.def"
#undef LORA_DIST_COMMAND
                                                          });
  return registry;
}

}  // namespace lora_dist
