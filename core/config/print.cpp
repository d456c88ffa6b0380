// The config as text for people: resolved YAML, the key table of --help, the tables of the manual.
#include <algorithm>

#include "core/base/columns.hpp"
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

template <class T>
std::vector<std::string> words_of(const T&, const FieldRule& rule) {
  if (!rule.not_yet.empty()) return {};
  if constexpr (std::is_same_v<T, bool>) return {"true", "false"};
  if (rule.auto_or_count) return {"auto"};
  return rule.one_of;
}

/// What may be written, in words: "1 to 1024", "auto, bf16 or fp32".
std::string allowed_text(const FieldRule& rule) {
  if (!rule.not_yet.empty()) return "not available yet";
  if (rule.auto_or_count) return "auto, or at least 1";
  if (rule.file_name) return "a file name";
  if (rule.one_of.empty()) return config::describe_range(rule);
  return fmt::format("{}", fmt::join(rule.one_of, ", "));
}

/// "any value", "true, yes", "off" as people read it.
std::string harmless_text(const config::ForeignKey& key) {
  std::vector<std::string> words;
  for (const std::string_view word : key.harmless)
    words.push_back(word == config::kAnyValue ? "any value"
                    : word == config::kOff    ? "off"
                                              : fmt::format("`{}`", word));
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string foreign_table() {
  std::string text =
      "\n## Keys of other tools that ours do not answer to\n\n"
      "A value under *ignored* changes nothing here and is listed in one line; `off` is false, "
      "none, 0 or\n"
      "nothing. Any other value would change the run and is refused.\n\n"
      "| key | ignored | why it changes nothing; else what is not built | instead |\n"
      "|---|---|---|---|\n";
  for (const config::ForeignKey& key : config::foreign_keys())
    text += fmt::format("| `{}` | {} | {} | {} |\n", key.theirs, harmless_text(key), key.why,
                        key.instead);
  return text;
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
  text += "\n## Words of other tools\n\n| key | written | ours | difference |\n|---|---|---|---|\n";
  for (const config::WordAlias& alias : config::word_aliases())
    if (alias.theirs != alias.ours)
      text += fmt::format("| `{}` | `{}` | `{}` | {} |\n", alias.key, alias.theirs, alias.ours,
                          alias.difference);
  return text + foreign_table();
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

std::vector<KeyFacts> config_keys() {
  std::vector<KeyFacts> keys;
  Config().each_group([&](const char* group_name, auto& group) {
    group.each_field([&](const char* key, auto& value, const FieldRule& rule, const char* help) {
      keys.push_back({.group = group_name,
                      .key = key,
                      .help = config::full_help(help, rule),
                      .default_text = default_text(value),
                      .allowed = allowed_text(rule),
                      .words = words_of(value, rule),
                      .is_built = rule.not_yet.empty()});
    });
  });
  return keys;
}

std::string config_help() {
  constexpr size_t kColumn = 31;
  std::string text = "Keys of the config file, `key: value`; on the command line `key=value`:\n";
  std::string group;
  for (const KeyFacts& key : config_keys()) {
    if (key.group != group) text += "\n" + key.group + "\n";
    group = key.group;
    text += entry_in_columns(
        key.key,
        key.help +
            (key.default_text.empty() ? "" : fmt::format(" (default: {})", key.default_text)) +
            (key.is_built ? "" : "; not available yet"),
        kColumn);
  }
  return text;
}

std::string config_markdown() {
  std::string text;
  Config().each_group([&](const char* name, auto& group) {
    text += fmt::format("{}## {}\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n",
                        text.empty() ? "" : "\n", name);
    group.each_field([&](const char* key, auto& value, const FieldRule& rule, const char* help) {
      const std::string given = default_text(value);
      text += fmt::format(
          "| `{}` | {} | {} | {} |\n", key, given.empty() ? "" : fmt::format("`{}`", given),
          markdown_cell(allowed_text(rule)), markdown_cell(config::full_help(help, rule)));
    });
  });
  return text + alias_tables();
}

}  // namespace lora_dist
