// The config as text for people: resolved YAML, the key table of --help, the tables of the manual.
#include <algorithm>

#include "core/config/aliases.hpp"
#include "core/config/values.hpp"

namespace lora_dist {
namespace {

using config::print;

/// The default as people read it; nothing for "unset" and "empty".
template <class T>
std::string default_text(const T& value) {
  const std::string text = print(value);
  return text == "\"\"" || text == "[]" || text == "{}" ? "" : text;
}

std::string markdown_cell(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, "\\");
  return text;
}

/// What may be written, in words: "1 to 1024", "auto, bf16 or fp32".
std::string allowed_text(const FieldRule& rule) {
  if (!rule.not_yet.empty()) return "not available yet";
  if (rule.auto_or_count) return "auto, or at least 1";
  if (rule.file_name) return "a file name";
  if (rule.one_of.empty()) return config::describe_range(rule);
  std::vector<std::string> built;
  for (const std::string& word : rule.one_of)
    if (std::find(rule.later.begin(), rule.later.end(), word) == rule.later.end())
      built.push_back(word);
  return fmt::format("{}", fmt::join(built, ", "));
}

std::string alias_tables() {
  std::string text = "\n## Names of other tools\n\n| written | ours | meaning |\n|---|---|---|\n";
  for (const config::KeyAlias& alias : config::key_aliases()) {
    std::vector<std::string> words;
    for (const auto& [theirs, ours] : alias.words)
      words.push_back(fmt::format("{}: {}", theirs, ours.empty() ? "nothing to do" : ours));
    text += fmt::format("| `{}` | {} | {} |\n", alias.theirs,
                        alias.ours.empty() ? "" : fmt::format("`{}`", alias.ours),
                        words.empty() ? "the same" : fmt::format("{}", fmt::join(words, "; ")));
  }
  text += "\n## Words of other tools\n\n| key | written | ours |\n|---|---|---|\n";
  for (const config::WordAlias& alias : config::word_aliases())
    if (alias.theirs != alias.ours)
      text += fmt::format("| `{}` | `{}` | `{}` |\n", alias.key, alias.theirs, alias.ours);
  text += "\n## Known, but not available yet\n\n| key | do this |\n|---|---|\n";
  for (const config::ReservedKey& key : config::reserved_keys())
    text += fmt::format("| `{}` | {} |\n", key.theirs,
                        key.instead.empty() ? "leave it out" : key.instead);
  return text;
}

}  // namespace

std::string resolved_yaml(const Config& config) {
  Config copy = config;
  std::string text;
  copy.each_group([&](const char* name, auto& group) {
    text += fmt::format("{}# {}\n", text.empty() ? "" : "\n", name);
    group.each_field([&](const char* key, auto& value, const FieldRule&, const char*) {
      const std::string printed = print(value);
      text += printed.empty() ? fmt::format("{}:\n", key) : fmt::format("{}: {}\n", key, printed);
    });
  });
  return text;
}

std::string config_help() {
  std::string text = "Keys of the config file, `key: value`; on the command line `key=value`:\n";
  Config().each_group([&](const char* name, auto& group) {
    text += fmt::format("\n{}\n", name);
    group.each_field([&](const char* key, auto& value, const FieldRule& rule, const char* help) {
      const std::string given = default_text(value);
      const std::string later = rule.not_yet.empty() ? "" : "; not available yet";
      text += fmt::format("  {:<28} {}{}{}\n", key, help,
                          given.empty() ? "" : fmt::format(" (default: {})", given), later);
    });
  });
  return text;
}

std::string config_markdown() {
  std::string text;
  Config().each_group([&](const char* name, auto& group) {
    text += fmt::format("{}## {}\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n",
                        text.empty() ? "" : "\n", name);
    group.each_field([&](const char* key, auto& value, const FieldRule& rule, const char* help) {
      const std::string given = default_text(value);
      text += fmt::format("| `{}` | {} | {} | {} |\n", key,
                          given.empty() ? "" : fmt::format("`{}`", given),
                          markdown_cell(allowed_text(rule)), markdown_cell(help));
    });
  });
  return text + alias_tables();
}

}  // namespace lora_dist
