#include "launcher/command_line.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/help/help_text.hpp"

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

/// The option that a message of CLI11 is about: "Could not convert: --seed = x".
const CLI::Option* option_of(const CLI::App& app, const std::string& message) {
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      if (message.find("--" + name + " ") != std::string::npos) return option;
  return nullptr;
}

ConfigError wrong_kind_of_value(const CLI::App& app, const std::string& message) {
  const CLI::Option* option = option_of(app, message);
  const size_t equals = message.find(" = ");
  if (!option || equals == std::string::npos) return usage_error(message, see_help(app));
  const bool is_whole = option->get_type_name().find("INT") != std::string::npos;
  return ConfigError(
      {.where = "command line",
       .found = fmt::format("--{} '{}'", option->get_lnames().front(), message.substr(equals + 3)),
       .expected = is_whole ? "a whole number" : "a number"});
}

/// Declares and fills the command's options. False when only its help was asked for.
bool parse_options(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(arguments);
    return true;
  } catch (const CLI::CallForHelp&) {
    std::fputs(command_help(app).c_str(), stdout);
    return false;
  } catch (const CLI::ExtrasError&) {
    throw unexpected_argument(app);
  } catch (const CLI::ConversionError& failure) {
    throw wrong_kind_of_value(app, failure.what());
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
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (first == "--help" || first == "-h") return {.command = "help", .arguments = rest};
  if (first == "--version" || first == "-V") return {.command = "version", .arguments = rest};
  const bool is_for_train = first.starts_with('-') || first.find('=') != std::string::npos ||
                            (!commands().find(first) && names_config_file(first));
  if (is_for_train) return {.command = "train", .arguments = arguments};
  return {.command = first, .arguments = rest};
}

int run_command_line(const std::vector<std::string>& arguments) {
  const CommandLine line = split_command_line(arguments);
  if (line.command.empty())
    throw usage_error("no command", "write `lora-dist FILE`, or see `lora-dist --help`");
  const CommandEntry& entry = find_command(line.command);
  const std::unique_ptr<Command> command = entry.make();
  CLI::App app(entry.help, "lora-dist " + line.command);
  command->declare(app);
  return parse_options(app, line.arguments) ? command->run() : 0;
}

}  // namespace lora_dist
