// From config texts and overrides to a checked Config.
//
// Every given key becomes one Given in our terms. Inside one text a key may have two spellings only
// when both say the same; between texts and overrides the later one wins.
#include <algorithm>
#include <map>
#include <set>

#include "core/config/aliases.hpp"
#include "core/config/relations.hpp"
#include "core/config/values.hpp"
#include "core/error.hpp"

namespace lora_dist {
namespace {

using config::Given;
using GivenKeys = std::map<std::string, Given>;  // by our key

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> names;
    Config().each_field(
        [&](const char* key, auto&, const FieldRule&, const char*) { names.emplace_back(key); });
    return names;
  }();
  return keys;
}

bool is_ours(const std::string& key) {
  static const std::set<std::string> keys(known_keys().begin(), known_keys().end());
  return keys.contains(key);
}

ConfigError unknown_key(const std::string& key, const std::string& where) {
  std::vector<std::string> candidates = known_keys();
  for (const config::KeyAlias& alias : config::key_aliases())
    if (alias.theirs.size() >= 4) candidates.emplace_back(alias.theirs);  // "r" is near everything
  const std::string near = nearest_name(key, candidates);
  return ConfigError({.where = where,
                      .found = fmt::format("unknown key '{}'", shortened(key)),
                      .fix = near.empty() ? "`lora-dist train --help` lists the keys"
                                          : fmt::format("did you mean '{}'?", near)});
}

/// Puts one value where it belongs.
void set_value(Config& config, const Given& given) {
  config.each_field([&](const char* key, auto& value, const FieldRule& rule, const char*) {
    if (given.key != key) return;
    const std::string default_value = config::print(value);
    bool same = false;
    try {
      config::read(given, rule, value);
      same = config::print(value) == default_value;
    } catch (const ConfigError&) {
      // A value that would need the missing feature may have any form; only a word that the feature
      // does not have either is a mistake of its own.
      if (rule.not_yet.empty() || !rule.one_of.empty()) throw;
    }
    if (!rule.not_yet.empty() && !same)
      throw ConfigError({.where = given.where,
                         .found = fmt::format("{} {} is not available yet ({})", given.spelling,
                                              given.written, rule.not_yet),
                         .fix = "leave the key out"});
  });
}

/// The value alone, so that two spellings can be compared: 1e-4 and 0.0001 are the same.
std::string meaning_of(const Given& given) {
  Config scratch;
  set_value(scratch, given);
  std::string text;
  scratch.each_field([&](const char* key, auto& value, const FieldRule&, const char*) {
    if (given.key == key) text = config::print(value);
  });
  return text;
}

/// Adds `given` to the keys of the same text. Errors  ConfigError: another spelling says otherwise.
void add_spelling(GivenKeys& keys, const Given& given) {
  const auto [earlier, fresh] = keys.emplace(given.key, given);
  if (fresh) return;
  if (earlier->second.value->is_null()) {
    earlier->second = given;
    return;
  }
  const Given& first = earlier->second;
  if (given.value->is_null() || meaning_of(given) == meaning_of(first)) return;
  throw ConfigError({.where = given.where,
                     .found = fmt::format("{} {} and {} {} (line {}) are one key", given.spelling,
                                          given.written, first.spelling, first.written, first.line),
                     .fix = "keep one"});
}

/// One `key: value` as the user wrote it, in our terms.
std::vector<Given> interpret(const std::string& spelling, const YamlPtr& value,
                             const std::string& where, int line, std::vector<std::string>& notes) {
  Given given{.key = spelling,
              .spelling = spelling,
              .written = describe(*value),
              .where = where,
              .line = line,
              .value = value};
  if (is_ours(spelling)) return {given};
  const config::Translation translation = config::translate(spelling, value, where);
  if (!translation.known) throw unknown_key(spelling, where);
  std::vector<Given> result;
  for (const config::Meaning& meaning : translation.meanings) {
    given.key = meaning.key;
    given.value = meaning.value;
    result.push_back(given);
    notes.push_back(translation.same_value
                        ? fmt::format("{} is an alias of {}", spelling, meaning.key)
                        : fmt::format("{} {} means {} {}", spelling, given.written, meaning.key,
                                      describe(*meaning.value)));
  }
  return result;
}

GivenKeys read_text(const ConfigText& text, std::vector<std::string>& notes) {
  const YamlSource source{.name = text.where};
  const YamlPtr root = read_yaml(text.yaml, source);
  GivenKeys keys;
  if (root->is_null()) return keys;
  if (!root->is_map())
    throw ConfigError({.where = source.place(root->line),
                       .found = root->is_list() ? "a list" : "a text without a key",
                       .expected = "`key: value` lines"});
  for (const auto& [key, value] : root->map) {
    const std::string where = source.place(key->line);
    for (const Given& given : interpret(key->text, value, where, key->line, notes))
      add_spelling(keys, given);
  }
  return keys;
}

std::vector<Given> read_override(const std::string& text, std::vector<std::string>& notes) {
  const YamlSource source{.name = "command line", .has_lines = false};
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw ConfigError({.where = source.name,
                       .found = fmt::format("'{}'", shortened(text)),
                       .expected = "key=value"});
  const std::string key = text.substr(0, equals);
  const YamlPtr value = read_yaml(text.substr(equals + 1), source);
  return interpret(key, value, source.name, /*line=*/0, notes);
}

/// Those with a value, so that of several mistakes the first line is reported.
std::vector<Given> in_file_order(const GivenKeys& keys) {
  std::vector<Given> order;
  for (const auto& [key, given] : keys)
    if (!given.value->is_null()) order.push_back(given);
  std::stable_sort(order.begin(), order.end(),
                   [](const Given& a, const Given& b) { return a.line < b.line; });
  return order;
}

}  // namespace

Config parse_config(const std::vector<ConfigText>& texts,
                    const std::vector<std::string>& overrides) {
  Config config;
  GivenKeys keys;
  for (const ConfigText& text : texts) {
    config.source += (config.source.empty() ? "" : " + ") + text.where;
    for (auto& [key, given] : read_text(text, config.notes)) keys[key] = given;
  }
  for (const std::string& text : overrides)
    for (const Given& given : read_override(text, config.notes)) keys[given.key] = given;
  for (const Given& given : in_file_order(keys)) {
    set_value(config, given);
    config.origins[given.key] = given.where;
  }
  config::check_relations(config);
  config::fill_defaults(config);
  return config;
}

Config parse_config(const std::string& yaml_text, const std::string& where,
                    const std::vector<std::string>& overrides) {
  return parse_config({{.where = where, .yaml = yaml_text}}, overrides);
}

std::string Config::where(const std::string& key) const {
  const auto given = origins.find(key);
  return given == origins.end() ? source : given->second;
}

}  // namespace lora_dist
