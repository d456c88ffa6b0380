#include "launcher/command_line.hpp"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/help/command_facts.hpp"
#include "launcher/help/help_text.hpp"

namespace lora_dist {
namespace {

ConfigError usage_error(const std::string& found, const std::string& fix) {
  return ConfigError({.where = "command line", .found = found, .fix = fix});
}

std::string see_help(const CLI::App& app) { return fmt::format("see `{} --help`", app.get_name()); }

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
      for (const char* end : {" ", ":"})
        if (message.find("--" + name + end) != std::string::npos) return option;
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

/// "--base TEXT", or "PATH" of an argument, of the option that CLI11 calls `name`.
std::string as_written(const CLI::App& app, const std::string& name) {
  for (const OptionFacts& option : option_facts(app))
    if (option.name == name) return spelled_out(option);
  return name;
}

/// What CLI11 says about a command line, in our words.
ConfigError misuse(const CLI::App& app, const CLI::ParseError& failure) {
  const std::string message = failure.what();
  const CLI::Option* option = option_of(app, message);
  const std::string name = message.substr(0, message.find_first_of(": "));
  const std::string wanted = as_written(app, name);
  if (failure.get_name() == "RequiredError")
    return usage_error(
        fmt::format("{} is missing", name.starts_with('-') ? name : wanted),
        fmt::format("write `{} {}`, or see `{} --help`", app.get_name(), wanted, app.get_name()));
  if (failure.get_name() == "ArgumentMismatch" && option) {
    const size_t count = option->count();
    return count > 1
               ? usage_error(fmt::format("{} stands {} times", name, count), "keep one of them")
               : usage_error(fmt::format("{} has no value", name),
                             fmt::format("write `{}`", wanted));
  }
  const size_t excludes = message.find(" excludes ");
  if (excludes != std::string::npos)
    return usage_error(
        fmt::format("{} and {} exclude each other", name, message.substr(excludes + 10)),
        "keep one of them");
  const size_t colon = message.find(": ");
  const bool names_option = message.starts_with("--") && colon != std::string::npos;
  return usage_error(names_option ? name + " " + message.substr(colon + 2) : message,
                     names_option ? "" : see_help(app));
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
    throw misuse(app, failure);
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
                            (!commands().find(first) &&
                             (names_config_file(first) || first.find('/') != std::string::npos));
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
