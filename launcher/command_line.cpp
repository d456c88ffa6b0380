#include "launcher/command_line.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "launcher/commands/command.hpp"

namespace lora_dist {
namespace {

ConfigError usage_error(const std::string& found, const std::string& fix) {
  return ConfigError({.where = "command line", .found = found, .fix = fix});
}

std::string see_help(const CLI::App& app) {
  return fmt::format("`{} --help` shows what is", app.get_name());
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// What CLI11 could not place: an option it does not know, or one word too many.
ConfigError unexpected_argument(const CLI::App& app) {
  const std::vector<std::string> rest = app.remaining();
  const std::string first = rest.empty() ? "" : rest.front();
  if (!first.starts_with('-'))
    return usage_error(fmt::format("'{}' is not expected here", first), see_help(app));
  const std::string option = first.substr(0, first.find('='));
  const std::string near = nearest_name(option, option_names(app));
  return usage_error(fmt::format("unknown option '{}'", option),
                     near.empty() ? see_help(app) : fmt::format("did you mean '{}'?", near));
}

bool has_unknown_option(const CLI::App& app) {
  const std::vector<std::string> rest = app.remaining();
  return !rest.empty() && rest.front().starts_with('-');
}

const CommandEntry& find_command(const std::string& name) {
  if (const CommandEntry* entry = commands().find(name)) return *entry;
  const std::string near = nearest_name(name, commands().names());
  throw usage_error(fmt::format("unknown command '{}'", name),
                    (near.empty() ? "" : fmt::format("did you mean '{}'? ", near)) +
                        fmt::format("known: {}", fmt::join(commands().names(), ", ")));
}

/// Declares and fills the command's options. False when only its help was asked for.
bool parse_options(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(arguments);
    return true;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ExtrasError&) {
    throw unexpected_argument(app);
  } catch (const CLI::ParseError& failure) {
    // A misspelt --config is also a missing one; the spelling is what helps.
    if (has_unknown_option(app)) throw unexpected_argument(app);
    throw usage_error(failure.what(), see_help(app));
  }
}

}  // namespace

CommandLine split_command_line(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return {};
  const std::string& first = arguments.front();
  const bool program_option =
      first == "--help" || first == "-h" || first == "--version" || first == "-V";
  const bool names_command = !first.starts_with('-') && first.find('=') == std::string::npos;
  if (program_option || names_command)
    return {.command = first, .arguments = {arguments.begin() + 1, arguments.end()}};
  return {.command = "train", .arguments = arguments};
}

std::string program_help() {
  std::string text = "lora-dist " LORA_DIST_VERSION
                     ": LoRA fine-tuning, from one machine to a cluster\n\n"
                     "usage: lora-dist [train] --config FILE [--ranks N] [key=value ...]\n"
                     "       lora-dist COMMAND [options]\n\ncommands:\n";
  for (const std::string_view name : commands().names())
    text += fmt::format("  {:<10} {}\n", name, commands().at(name).help);
  return text +
         "\n`lora-dist COMMAND --help` shows a command's options; `train --help` also lists "
         "the keys of the config file.\n";
}

int run_command_line(const std::vector<std::string>& arguments) {
  const CommandLine line = split_command_line(arguments);
  if (line.command.empty())
    throw usage_error("no command", "write `lora-dist --config FILE`, or see `lora-dist --help`");
  if (line.command == "--help" || line.command == "-h") {
    std::fputs(program_help().c_str(), stdout);
    return 0;
  }
  if (line.command == "--version" || line.command == "-V") {
    std::puts("lora-dist " LORA_DIST_VERSION);
    return 0;
  }
  const CommandEntry& entry = find_command(line.command);
  const std::unique_ptr<Command> command = entry.make();
  CLI::App app(entry.help, "lora-dist " + line.command);
  command->declare(app);
  return parse_options(app, line.arguments) ? command->run() : 0;
}

}  // namespace lora_dist
