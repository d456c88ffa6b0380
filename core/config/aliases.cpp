#include "core/config/aliases.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/config/values.hpp"

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

/// Whether one value, one item of a list or one key of a map is among the harmless words.
bool is_harmless_word(const ForeignKey& key, const YamlNode& value) {
  const std::string word = lower_case(value.text);
  const std::optional<bool> truth = boolean_word(word);
  return std::any_of(key.harmless.begin(), key.harmless.end(), [&](std::string_view harmless) {
    return harmless == word || (truth && harmless == print(*truth));
  });
}

bool is_harmless(const ForeignKey& key, const YamlNode& value) {
  const auto allows = [&](std::string_view word) {
    return std::count(key.harmless.begin(), key.harmless.end(), word) > 0;
  };
  if (value.is_null() || allows(kAnyValue)) return true;
  if (allows(kOff) && is_off(value)) return true;
  if (value.is_scalar()) return is_harmless_word(key, value);
  return std::all_of(value.items.begin(), value.items.end(),
                     [&](const YamlPtr& item) { return is_harmless_word(key, *item); }) &&
         std::all_of(value.map.begin(), value.map.end(),
                     [&](const auto& entry) { return is_harmless_word(key, *entry.first); });
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
    const bool says_nothing =
        key->text == "ds_type" || (key->text == "split" && entry->text == "train");
    if (known == ours.end() && says_nothing) continue;
    if (known == ours.end())
      throw not_available(where, fmt::format("datasets.{}", key->text), "leave it out");
    if (!entry->is_null()) meanings.push_back({known->second, entry});
  }
}

}  // namespace

const ForeignKey* find_foreign(std::string_view theirs) {
  for (const ForeignKey& key : foreign_keys()) {
    const bool is_prefix = key.theirs.ends_with('*');
    const std::string_view name = key.theirs.substr(0, key.theirs.size() - is_prefix);
    if (is_prefix ? theirs.starts_with(name) : theirs == name) return &key;
  }
  return nullptr;
}

const WordAlias* find_word(std::string_view key, const std::string& word) {
  const std::string lower = lower_case(word);
  for (const WordAlias& alias : word_aliases())
    if (alias.key == key && alias.theirs == lower) return &alias;
  return nullptr;
}

std::string canonical_word(std::string_view key, const std::string& word) {
  const WordAlias* alias = find_word(key, word);
  return alias ? std::string(alias->ours) : word;
}

std::string canonical_key(std::string_view theirs) {
  const KeyAlias* alias = find_theirs(key_aliases(), theirs);
  return alias ? std::string(alias->ours) : "";
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
  } else if (const ForeignKey* foreign = find_foreign(theirs)) {
    if (!is_harmless(*foreign, *value))
      throw ConfigError(
          {.where = where,
           .found = fmt::format("{} {} is not available yet ({})", theirs, describe(*value),
                                foreign->why),
           .fix = std::string(foreign->instead.empty() ? "leave it out" : foreign->instead)});
    result.ignored = !value->is_null();
  } else {
    result.known = false;
  }
  return result;
}

}  // namespace lora_dist::config
