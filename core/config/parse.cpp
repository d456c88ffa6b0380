// From config texts and overrides to a checked Config.
//
// Every given key becomes one Given in our terms. Inside one text a key may have two spellings only
// when both say the same; between texts and overrides the later one wins. A mistake is noted and
// the next key read, so that a user mends all of them at once.
#include <algorithm>
#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/config/aliases.hpp"
#include "core/config/look_alikes.hpp"
#include "core/config/relations.hpp"
#include "core/config/values.hpp"

namespace lora_dist {
namespace {

using config::Given;
using GivenKeys = std::map<std::string, Given>;  // by our key

/// What is found on the way from texts to a config.
struct Findings {
  std::vector<ConfigError> mistakes;
  std::vector<std::string> notes, warnings;
  std::vector<std::string> ignored;  // foreign keys that change nothing

  /// Does `work`; a ConfigError of it becomes a mistake.
  template <class Work>
  void collect(Work&& work) {
    try {
      work();
    } catch (const ConfigError& mistake) {
      mistakes.push_back(mistake);
    }
  }
};

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
  for (const config::ForeignKey& foreign : config::foreign_keys())
    if (!foreign.theirs.ends_with('*')) candidates.emplace_back(foreign.theirs);
  const std::string near = nearest_name(key, candidates);
  return ConfigError({.where = where,
                      .found = fmt::format("unknown key '{}'", shortened(key)),
                      .fix = near.empty() ? "`lora-dist help keys` lists them"
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
                             const std::string& where, int line, Findings& findings) {
  Given given{.key = spelling,
              .spelling = spelling,
              .written = describe(*value),
              .where = where,
              .line = line,
              .value = value};
  if (is_ours(spelling)) return {given};
  const config::Translation translation = config::translate(spelling, value, where);
  if (!translation.known) throw unknown_key(spelling, where);
  if (translation.ignored) findings.ignored.push_back(spelling);
  std::vector<Given> result;
  for (const config::Meaning& meaning : translation.meanings) {
    given.key = meaning.key;
    given.value = meaning.value;
    result.push_back(given);
    findings.notes.push_back(translation.same_value
                                 ? fmt::format("{} is an alias of {}", spelling, meaning.key)
                                 : fmt::format("{} {} means {} {}", spelling, given.written,
                                               meaning.key, describe(*meaning.value)));
  }
  return result;
}

GivenKeys read_text(const ConfigText& text, Findings& findings) {
  const YamlSource source{.name = text.where};
  const YamlPtr root = read_mended_yaml(text.yaml, source, findings.mistakes);
  GivenKeys keys;
  if (root->is_null()) return keys;
  if (!root->is_map())
    throw ConfigError({.where = source.place(root->line),
                       .found = root->is_list() ? "a list" : "a text without a key",
                       .expected = "`key: value` lines"});
  for (const auto& entry : root->map) {
    const YamlNode& key = *entry.first;
    findings.collect([&] {
      for (const Given& given :
           interpret(key.text, entry.second, source.place(key.line), key.line, findings))
        add_spelling(keys, given);
    });
  }
  return keys;
}

std::vector<Given> read_override(const std::string& text, Findings& findings) {
  const YamlSource source{.name = "command line", .has_lines = false};
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    const std::string meant = config::without_look_alikes(text);
    throw ConfigError({.where = source.name,
                       .found = fmt::format("'{}'", shortened(text)),
                       .expected = "key=value",
                       .fix = meant != text && meant.find('=') != std::string::npos
                                  ? fmt::format("write {}", shortened(meant))
                                  : ""});
  }
  const std::string key = text.substr(0, equals);
  const YamlPtr value = read_yaml(text.substr(equals + 1), source);
  return interpret(key, value, source.name, /*line=*/0, findings);
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

/// A tool's default of a key that is left out belongs to the meaning of its alias: kohya's alpha is
/// 1 whatever the rank, PEFT's is 8.
void look_at_missing_alpha(const GivenKeys& keys, std::vector<std::string>& warnings) {
  const auto rank = keys.find("lora_rank"), alpha = keys.find("lora_alpha");
  const bool has_alpha = alpha != keys.end() && !alpha->second.value->is_null();
  if (rank == keys.end() || rank->second.value->is_null() || has_alpha) return;
  const Given& given = rank->second;
  if (given.spelling == "network_dim")
    throw ConfigError({.where = given.where,
                       .found = fmt::format("network_dim {} without network_alpha, which is 1 to "
                                            "kohya's scripts and 2 x lora_rank here",
                                            given.written),
                       .fix = "write network_alpha"});
  if (given.spelling == "r" && given.written != "4")
    warnings.push_back(
        fmt::format("{}: r {} without lora_alpha, which is 8 to PEFT and 2 x lora_rank here",
                    given.where, given.written));
}

/// A word of another tool that says more than ours does.
void warn_of_difference(const Given& given, std::vector<std::string>& warnings) {
  if (!given.value->is_scalar()) return;
  const config::WordAlias* word = config::find_word(given.key, given.value->text);
  if (word && !word->difference.empty())
    warnings.push_back(fmt::format("{} {} means {}: {}", given.spelling, given.written, word->ours,
                                   word->difference));
}

std::string list_of_ignored(const Findings& findings) {
  return fmt::format("ignored, since {} change{} nothing here: {}",
                     findings.ignored.size() == 1 ? "it" : "they",
                     findings.ignored.size() == 1 ? "s" : "", fmt::join(findings.ignored, ", "));
}

GivenKeys read_all(const std::vector<ConfigText>& texts, const std::vector<std::string>& overrides,
                   Findings& findings) {
  GivenKeys keys;
  for (const ConfigText& text : texts)
    findings.collect([&] {
      for (auto& [key, given] : read_text(text, findings)) keys[key] = given;
    });
  for (const std::string& text : overrides)
    findings.collect([&] {
      for (const Given& given : read_override(text, findings)) keys[given.key] = given;
    });
  return keys;
}

}  // namespace

CheckedConfig check_config(const std::vector<ConfigText>& texts,
                           const std::vector<std::string>& overrides) {
  Findings findings;
  Config config;
  for (const ConfigText& text : texts)
    config.source += (config.source.empty() ? "" : " + ") + text.where;
  const GivenKeys keys = read_all(texts, overrides, findings);
  for (const Given& given : in_file_order(keys))
    findings.collect([&] {
      Config changed = config;
      set_value(changed, given);
      config = std::move(changed);
      config.origins[given.key] = given.where;
      warn_of_difference(given, findings.warnings);
    });
  findings.collect([&] { look_at_missing_alpha(keys, findings.warnings); });
  if (findings.mistakes.empty()) {
    findings.mistakes = config::broken_relations(config);
    config::warn_of_keys_without_effect(config, findings.warnings);
  }
  config::fill_defaults(config);
  if (!findings.ignored.empty()) findings.notes.push_back(list_of_ignored(findings));
  config.notes = std::move(findings.notes);
  config.warnings = std::move(findings.warnings);
  return {std::move(config), std::move(findings.mistakes)};
}

ConfigError in_one_line(const std::vector<ConfigError>& mistakes, const std::string& source) {
  constexpr size_t kShown = 8;
  LD_CHECK(!mistakes.empty(), "a config without mistakes has none to tell");
  if (mistakes.size() == 1) return mistakes.front();
  std::string text;
  for (size_t i = 0; i < std::min(mistakes.size(), kShown); ++i)
    text += fmt::format("{}({}) {}", i == 0 ? "" : " ", i + 1, mistakes[i].what());
  const size_t left_out = mistakes.size() - std::min(mistakes.size(), kShown);
  return ConfigError({.where = source.empty() ? "command line" : source,
                      .found = fmt::format("{} mistakes: {}", mistakes.size(), text),
                      .fix = left_out == 0 ? ""
                                           : fmt::format("and {} more; `lora-dist validate` lists "
                                                         "them",
                                                         left_out)});
}

Config parse_config(const std::vector<ConfigText>& texts,
                    const std::vector<std::string>& overrides) {
  CheckedConfig checked = check_config(texts, overrides);
  if (!checked.mistakes.empty()) throw in_one_line(checked.mistakes, checked.config.source);
  return std::move(checked.config);
}

Config parse_config(const std::string& yaml_text, const std::string& where,
                    const std::vector<std::string>& overrides) {
  return parse_config({{.where = where, .yaml = yaml_text}}, overrides);
}

std::string key_named(const std::string& name) {
  return is_ours(name) ? name : config::canonical_key(name);
}

std::string Config::where(const std::string& key) const {
  const auto given = origins.find(key);
  return given == origins.end() ? source : given->second;
}

}  // namespace lora_dist
