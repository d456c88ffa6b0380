#include "launcher/help/help_text.hpp"

#include <algorithm>

#include <CLI/CLI.hpp>

#include "core/base/columns.hpp"
#include "core/config/config.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/help/command_facts.hpp"
#include "launcher/help/exit_codes.hpp"

namespace lora_dist {
namespace {

constexpr size_t kOptionColumn = 27;

/// Options that `positional` says to be arguments, or the others; with a heading, where there are
/// any.
std::string option_table(const std::vector<OptionFacts>& options, bool positional) {
  std::string text;
  for (const OptionFacts& option : options)
    if (option.is_positional == positional)
      text += entry_in_columns(spelled_out(option), option.help, kOptionColumn);
  if (text.empty()) return {};
  return (positional ? "\nArguments:\n" : "\nOptions:\n") + text;
}

std::string key_page(const KeyFacts& key) {
  constexpr size_t kColumn = 13;
  std::string text = fmt::format("{}: {}\n\n", key.key, key.help);
  text = wrapped(text, 2) + "\n\n";
  const auto row = [&](const std::string& name, const std::string& value) {
    if (!value.empty()) text += entry_in_columns(name, value, kColumn);
  };
  row("group", key.group);
  row("default", key.default_text.empty() ? "unset" : key.default_text);
  row("allowed", key.is_built ? key.allowed : "the default alone; not available yet");
  return text;
}

}  // namespace

std::string program_help() {
  constexpr size_t kColumn = 14;
  std::string text = "lora-dist " LORA_DIST_VERSION
                     ": LoRA fine-tuning, from one machine to a cluster\n\n"
                     "Usage: lora-dist [train] FILE [--ranks N] [key=value ...]\n"
                     "       lora-dist COMMAND [options]\n\nCommands:\n";
  for (const std::string_view name : commands().names())
    text += entry_in_columns(std::string(name), commands().at(name).help, kColumn);
  text += "\nExit codes:\n";
  for (const ExitCode& exit : kExitCodes)
    text += entry_in_columns(std::to_string(exit.code), std::string(exit.meaning), 7);
  return text +
         "\n`lora-dist help COMMAND` shows a command's options, `lora-dist help keys` the\n"
         "keys of the config file, `lora-dist help lora_rank` one of them.\n";
}

std::string command_help(const CLI::App& app) {
  const std::vector<OptionFacts> options = option_facts(app);
  std::string usage = fmt::format("Usage: {}", app.get_name());
  for (const OptionFacts& option : options)
    if (option.is_positional) usage += " " + spelled_out(option);
  std::string text = usage + " [options]\n\n" + wrapped(app.get_description(), 0) + "\n" +
                     option_table(options, /*positional=*/true) +
                     option_table(options, /*positional=*/false);
  const std::string footer = app.get_footer();
  return footer.empty() ? text : text + "\n" + wrapped(footer, 0) + "\n";
}

std::string help_about(const std::string& topic) {
  if (topic == "keys") return config_help();
  if (const CommandEntry* entry = commands().find(topic)) {
    const std::unique_ptr<Command> command = entry->make();
    CLI::App app(entry->help, "lora-dist " + topic);
    command->declare(app);
    return command_help(app);
  }
  const std::vector<KeyFacts> keys = config_keys();
  const std::string ours = key_named(topic),
                    theirs = ours == topic ? "" : about_foreign_name(topic);
  const std::string told = theirs.empty() ? "" : wrapped(theirs, 0) + "\n";
  const auto known =
      std::find_if(keys.begin(), keys.end(), [&](const KeyFacts& key) { return key.key == ours; });
  if (known != keys.end())
    return (ours == topic  ? ""
            : told.empty() ? fmt::format("{} is an alias of {}.\n\n", topic, ours)
                           : told + "\n") +
           key_page(*known);
  if (!told.empty()) return told;
  std::vector<std::string> names = {"keys"};
  for (const std::string_view name : commands().names()) names.emplace_back(name);
  for (const KeyFacts& key : keys) names.push_back(key.key);
  const std::string near = nearest_name(topic, names);
  throw ConfigError(
      {.where = "command line",
       .found = fmt::format("help about '{}'", topic),
       .expected = "a command, keys, or a key of the config file",
       .fix = near.empty() ? "see `lora-dist help`" : fmt::format("did you mean '{}'?", near)});
}

}  // namespace lora_dist
