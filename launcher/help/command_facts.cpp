#include "launcher/help/command_facts.hpp"

#include <algorithm>
#include <cctype>

#include <CLI/CLI.hpp>

#include "launcher/commands/command.hpp"

namespace lora_dist {
namespace {

/// "FILE" of CLI11's "FILE:INT in [1 - 4]"; its words for numbers as people write them.
std::string shown_value(const CLI::Option& option) {
  const std::string type = option.get_type_name().substr(0, option.get_type_name().find(':'));
  if (type == "INT" || type == "UINT") return "N";
  if (type == "FLOAT") return "X";
  return type;
}

OptionFacts facts_of(const CLI::Option& option) {
  const bool is_flag = option.get_items_expected_max() == 0;
  const bool has_name = !option.get_lnames().empty();
  OptionFacts facts{.name = has_name ? "--" + option.get_lnames().front() : option.get_name(true),
                    .short_name = {},
                    .value = is_flag ? "" : shown_value(option),
                    .help = has_name && option.get_lnames().front() == "help"
                                ? "show this page"
                                : option.get_description(),
                    .is_positional = !has_name,
                    .is_required = option.get_required()};
  if (!option.get_snames().empty()) facts.short_name = "-" + option.get_snames().front();
  facts.takes_path = facts.value == "TEXT" || facts.value.starts_with("FILE");
  if (!option.get_default_str().empty())
    facts.help += fmt::format(" (default: {})", option.get_default_str());
  if (facts.is_required) facts.help += " (required)";
  return facts;
}

}  // namespace

std::vector<OptionFacts> option_facts(const CLI::App& app) {
  std::vector<OptionFacts> facts;
  for (const CLI::Option* option : app.get_options()) facts.push_back(facts_of(*option));
  for (const CLI::App* group :
       app.get_subcommands([](const CLI::App* part) { return part->get_name().empty(); }))
    for (const CLI::Option* option : group->get_options())
      if (option != group->get_help_ptr()) facts.push_back(facts_of(*option));
  return facts;
}

std::vector<CommandFacts> command_facts() {
  std::vector<CommandFacts> all;
  for (const std::string_view name : commands().names()) {
    const CommandEntry& entry = commands().at(name);
    const std::unique_ptr<Command> command = entry.make();
    CLI::App app(entry.help, std::string(name));
    command->declare(app);
    CommandFacts facts{.name = std::string(name), .help = entry.help, .options = option_facts(app)};
    facts.takes_config = std::any_of(facts.options.begin(), facts.options.end(),
                                     [](const OptionFacts& o) { return o.name == "--config"; });
    all.push_back(std::move(facts));
  }
  return all;
}

std::string spelled_out(const OptionFacts& option) {
  if (option.is_positional) {
    std::string name = option.value == "TEXT" ? option.name : option.value;
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
    return name;
  }
  return (option.short_name.empty() ? "" : option.short_name + ", ") + option.name +
         (option.value.empty() ? "" : " " + option.value);
}

}  // namespace lora_dist
