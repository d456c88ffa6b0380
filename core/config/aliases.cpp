#include "core/config/aliases.hpp"

#include <algorithm>

#include "core/config/values.hpp"
#include "core/error.hpp"

namespace lora_dist::config {
namespace {

template <class Table>
auto find_theirs(const Table& table, std::string_view theirs) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const auto& entry) { return entry.theirs == theirs; });
  return found == table.end() ? nullptr : &*found;
}

ConfigError not_available(const std::string& where, const std::string& found,
                          const std::string& fix) {
  return ConfigError({.where = where, .found = found + " is not available yet", .fix = fix});
}

/// "dtype=bf16" as a meaning; "" says nothing.
void add_meaning(std::string_view text, int line, std::vector<Meaning>& meanings) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return;
  meanings.push_back({std::string(text.substr(0, equals)),
                      yaml_scalar(std::string(text.substr(equals + 1)), line)});
}

void translate_word(const KeyAlias& alias, const YamlNode& value, const std::string& where,
                    std::vector<Meaning>& meanings) {
  if (value.is_list()) {
    for (const YamlPtr& item : value.items) translate_word(alias, *item, where, meanings);
    return;
  }
  const std::string word = lower_case(value.text);
  const std::optional<bool> truth = boolean_word(word);
  std::vector<std::string_view> known;
  for (const auto& [theirs, ours] : alias.words) {
    if (theirs == word || (truth && theirs == print(*truth))) {
      add_meaning(ours, value.line, meanings);
      return;
    }
    known.push_back(theirs);
  }
  throw not_available(where, fmt::format("{} '{}'", alias.theirs, describe(value)),
                      fmt::format("known: {}", fmt::join(known, ", ")));
}

bool is_off(const YamlNode& value) {
  if (value.is_null()) return true;
  if (value.is_list()) return value.items.empty();
  if (value.is_map()) return value.map.empty();
  const std::string word = lower_case(value.text);
  return boolean_word(word) == false || word == "none" || word == "0" || word.empty();
}

/// Axolotl's `datasets: [{path: ..., type: ..., data_files: ...}]`, one entry.
void translate_datasets(const YamlNode& value, const std::string& where,
                        std::vector<Meaning>& meanings) {
  if (!value.is_list() || value.items.size() != 1 || !value.items[0]->is_map())
    throw ConfigError({.where = where,
                       .found = fmt::format("datasets '{}'", describe(value)),
                       .expected = "a list with one map (path, type, data_files)",
                       .fix = "put all data into one folder, train_data_dir"});
  static const std::map<std::string, std::string> ours = {
      {"path", "train_data_dir"}, {"data_files", "metadata_path"}, {"type", "data_format"}};
  for (const auto& [key, entry] : value.items[0]->map) {
    const auto known = ours.find(key->text);
    if (known == ours.end())
      throw not_available(where, fmt::format("datasets.{}", key->text), "leave it out");
    if (!entry->is_null()) meanings.push_back({known->second, entry});
  }
}

}  // namespace

std::string canonical_word(std::string_view key, const std::string& word) {
  const std::string lower = lower_case(word);
  for (const WordAlias& alias : word_aliases())
    if (alias.key == key && alias.theirs == lower) return std::string(alias.ours);
  return word;
}

Translation translate(const std::string& theirs, const YamlPtr& value, const std::string& where) {
  Translation result{.known = true};
  if (theirs == "datasets") {
    if (!value->is_null()) translate_datasets(*value, where, result.meanings);
  } else if (const KeyAlias* alias = find_theirs(key_aliases(), theirs)) {
    result.same_value = alias->words.empty();
    if (result.same_value)
      result.meanings.push_back({std::string(alias->ours), value});
    else if (!value->is_null())
      translate_word(*alias, *value, where, result.meanings);
  } else if (const ReservedKey* reserved = find_theirs(reserved_keys(), theirs)) {
    if (!is_off(*value))
      throw not_available(
          where, theirs,
          reserved->instead.empty() ? "leave it out" : std::string(reserved->instead));
  } else {
    result.known = false;
  }
  return result;
}

}  // namespace lora_dist::config
