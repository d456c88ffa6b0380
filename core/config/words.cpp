// Texts, words out of a list, and layer patterns.
#include <algorithm>

#include "core/base/error.hpp"
#include "core/config/aliases.hpp"
#include "core/config/look_alikes.hpp"
#include "core/config/values.hpp"

namespace lora_dist::config {
namespace {

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

ConfigError unknown_word(const Given& given, const std::vector<std::string>& known) {
  const std::string near = nearest_name(lower_case(given.value->text), known);
  return ConfigError({.where = given.where,
                      .found = fmt::format("{} '{}'", given.spelling, given.written),
                      .fix = (near.empty() ? "" : fmt::format("did you mean '{}'? ", near)) +
                             fmt::format("known: {}", fmt::join(known, ", "))});
}

[[noreturn]] void refuse_character(const Given& given, const LookAlike& found) {
  throw ConfigError(
      {.where = given.where,
       .found = fmt::format("{} in {} '{}'", shown(found), given.spelling, given.written),
       .fix = fmt::format("write {}", without_look_alikes(given.written))});
}

/// A free text may hold any letters; quotes and invisible blanks at its ends are none of it.
void refuse_look_alikes_around(const Given& given) {
  const std::string& text = given.value->text;
  const auto refuse_quote_or_blank = [&](std::string_view part) {
    const auto found = leading_look_alike(part);
    if (found && (found->kind == "curly" || found->meant == " " || found->meant.empty()))
      refuse_character(given, *found);
  };
  refuse_quote_or_blank(text);
  size_t last = text.size() - 1;
  while (last > 0 && (text[last] & 0xC0) == 0x80) --last;
  refuse_quote_or_blank(std::string_view(text).substr(last));
}

/// The canonical spelling of one of the rule's words.
std::string word_of(const Given& given, const FieldRule& rule) {
  refuse_look_alikes(given);
  std::string word = lower_case(canonical_word(given.key, given.value->text));
  if (contains(rule.one_of, "true"))
    if (const std::optional<bool> truth = boolean_word(word)) word = print(*truth);
  if (contains(rule.later, word))
    throw ConfigError(
        {.where = given.where,
         .found = fmt::format("{} '{}' is not available yet", given.spelling, given.written),
         .fix = fmt::format("use {}",
                            fmt::join(rule.one_of, rule.one_of.size() > 2 ? ", " : " or "))});
  if (!contains(rule.one_of, word)) throw unknown_word(given, rule.one_of);
  return word;
}

void check_file_name(const Given& given, const std::string& name) {
  // Bytes of 0x80 and above are letters of other scripts (the text is known to be UTF-8).
  const bool clean = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c >= 0x80;
  });
  const bool only_points = name.find_first_not_of('.') == std::string::npos;
  if (clean && !only_points) return;
  throw ConfigError({.where = given.where,
                     .found = fmt::format("{} '{}' may hold letters, digits, '.', '_', '-' only",
                                          given.spelling, given.written)});
}

void check_auto_or_count(const Given& given, std::string& value) {
  refuse_look_alikes(given);
  if (lower_case(value) == "auto") {
    value = "auto";
    return;
  }
  int64_t count = 0;
  read(given, at_least(1), count);
  value = print(count);
}

std::string joined(const YamlNode& list) {
  std::vector<std::string> items;
  for (const YamlPtr& item : list.items) items.push_back(item->text);
  return fmt::format("{}", fmt::join(items, ","));
}

bool is_all_linear(const std::string& text) {
  const std::string word = lower_case(text);
  return word == "all-linear" || word == "all";  // PEFT's word, and LLaMA-Factory's
}

/// Names and commas, nothing a regular expression would need: a list of suffixes in one line.
bool lists_names(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '-' || c == ',' || c == ' ';
  });
}

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    const size_t first = text.find_first_not_of(' ', start);
    if (first < comma)
      names.push_back(text.substr(first, text.find_last_not_of(' ', comma - 1) + 1 - first));
    start = comma + 1;
  }
  return names;
}

}  // namespace

std::string full_help(const std::string& help, const FieldRule& rule) {
  std::string text = help;
  for (const Word& word : rule.meanings) text += fmt::format("; {}: {}", word.name, word.meaning);
  return text;
}

void refuse_look_alikes(const Given& given) {
  const YamlNode& node = *given.value;
  std::vector<std::string_view> texts = {node.text};
  for (const YamlPtr& item : node.items) texts.push_back(item->text);
  for (const std::string_view text : texts)
    if (const auto found = first_look_alike(text)) refuse_character(given, *found);
}

void read(const Given& given, const FieldRule& rule, std::string& value) {
  if (!given.value->is_scalar())
    throw ConfigError({.where = given.where,
                       .found = fmt::format("{} '{}'", given.spelling, given.written),
                       .expected = "one value, not a list or a map"});
  if (given.value->text.empty()) return;  // "" is absent, like an empty value
  refuse_look_alikes_around(given);
  value = given.value->text;
  if (!rule.one_of.empty())
    value = word_of(given, rule);
  else if (rule.auto_or_count)
    check_auto_or_count(given, value);
  else if (rule.file_name)
    check_file_name(given, value);
  else
    value = canonical_word(given.key, value);
}

void read(const Given& given, const FieldRule&, ModulePattern& value) {
  const YamlNode& node = *given.value;
  const bool list_of_names =
      node.is_list() && std::all_of(node.items.begin(), node.items.end(),
                                    [](const YamlPtr& item) { return item->is_scalar(); });
  if (!node.is_scalar() && !list_of_names)
    throw ConfigError({.where = given.where,
                       .found = fmt::format("{} '{}'", given.spelling, given.written),
                       .expected = "a list of layer names, all-linear, or a regular expression"});
  refuse_look_alikes(given);
  value = {};
  const std::string text = node.is_list() ? joined(node) : node.text;
  if (is_all_linear(text))
    value.all_linear = true;
  else if (node.is_list())
    for (const YamlPtr& item : node.items) value.suffixes.push_back(item->text);
  else if (lists_names(text))
    value.suffixes = split_names(text);
  else
    value.regex = text;
}

std::string print(const std::string& value) {
  if (value == "true" || value == "false") return value;  // of keys that also take other words
  const std::string word = lower_case(value);
  const bool plain = !value.empty() && std::isalpha(static_cast<unsigned char>(value[0])) &&
                     value.find(',') == std::string::npos && lists_names(value) &&
                     value.find(' ') == std::string::npos;
  const bool misread = boolean_word(value) || word == "null" || word == "y" || word == "n";
  // A JSON string is a double-quoted YAML scalar.
  return plain && !misread ? value : nlohmann::json(value).dump();
}

std::string print(const ModulePattern& value) {
  if (value.all_linear) return "all-linear";
  if (!value.regex.empty()) return print(value.regex);
  std::vector<std::string> names;
  for (const std::string& suffix : value.suffixes) names.push_back(print(suffix));
  return fmt::format("[{}]", fmt::join(names, ", "));
}

}  // namespace lora_dist::config
