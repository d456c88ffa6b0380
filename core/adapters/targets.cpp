// Which layers receive an adapter: PEFT's rules of matching.

#include <algorithm>
#include <regex>
#include <set>

#include "core/adapters/adapter.hpp"
#include "core/adapters/lora.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"

namespace lora_dist {
namespace {

bool ends_with_module(const std::string& name, const std::string& suffix) {
  return name == suffix || name.ends_with("." + suffix);
}

std::regex compiled(const std::string& pattern, const char* key) {
  try {
    return std::regex(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error& failure) {
    throw ConfigError(
        {.where = key,
         .found = fmt::format("'{}' is no regular expression ({})", pattern, failure.what()),
         .expected = {},
         .fix = "write a list of names, all-linear, or a valid expression"});
  }
}

class Matcher {
 public:
  Matcher(const ModulePattern& pattern, const char* key) : pattern_(pattern) {
    if (!pattern.regex.empty()) regex_ = compiled(pattern.regex, key);
  }
  bool matches(const std::string& name) const {
    if (pattern_.all_linear) return true;
    if (!pattern_.regex.empty()) return std::regex_match(name, regex_);
    return std::any_of(pattern_.suffixes.begin(), pattern_.suffixes.end(),
                       [&](const std::string& suffix) { return ends_with_module(name, suffix); });
  }

 private:
  const ModulePattern& pattern_;
  std::regex regex_;
};

// The last parts of module paths: what users write in a list.
std::vector<std::string> leaf_names(const std::vector<std::string>& names) {
  std::vector<std::string> leaves;
  for (const std::string& name : names) {
    const std::string leaf = name.substr(name.rfind('.') + 1);
    if (std::find(leaves.begin(), leaves.end(), leaf) == leaves.end()) leaves.push_back(leaf);
  }
  return leaves;
}

[[noreturn]] void no_match(const std::string& wanted, const std::vector<std::string>& linears,
                           const std::string& model_type) {
  const std::vector<std::string> leaves = leaf_names(linears);
  const std::string near = nearest_name(wanted, leaves);
  throw ConfigError(
      {.where = "target_modules",
       .found = fmt::format("'{}' matches no layer of '{}'", wanted, model_type),
       .expected = fmt::format("{}", fmt::join(leaves, ", ")),
       .fix = near.empty() ? "choose from these" : fmt::format("did you mean '{}'?", near)});
}

/// An exclusion in vain is a misspelling, unless it names the head, which has no adapter anyway.
void warn_of_vain_exclusions(const std::vector<std::string>& linears,
                             const ModulePattern& excluded) {
  for (const std::string& suffix : excluded.suffixes) {
    const bool matches = std::any_of(linears.begin(), linears.end(), [&](const auto& name) {
      return ends_with_module(name, suffix);
    });
    if (!matches && suffix != "lm_head")
      log_warning(fmt::format("exclude_modules: '{}' matches no layer and has no effect", suffix));
  }
}

}  // namespace

bool is_targeted(const std::string& name, const ModulePattern& targets,
                 const ModulePattern& excluded) {
  return (targets.empty() || Matcher(targets, "target_modules").matches(name)) &&
         (excluded.empty() || !Matcher(excluded, "exclude_modules").matches(name));
}

std::vector<std::string> match_targets(const std::vector<std::string>& linears,
                                       const ModulePattern& targets, const ModulePattern& excluded,
                                       const std::string& model_type) {
  for (const std::string& suffix : targets.suffixes) {
    if (std::none_of(linears.begin(), linears.end(),
                     [&](const std::string& name) { return ends_with_module(name, suffix); }))
      no_match(suffix, linears, model_type);
  }
  warn_of_vain_exclusions(linears, excluded);
  const Matcher wanted(targets, "target_modules"), unwanted(excluded, "exclude_modules");
  std::vector<std::string> chosen;
  for (const std::string& name : linears) {
    if (wanted.matches(name) && !unwanted.matches(name)) chosen.push_back(name);
  }
  if (chosen.empty()) {
    if (!targets.regex.empty()) no_match(targets.regex, linears, model_type);
    throw ConfigError({.where = "exclude_modules",
                       .found = "excludes every target",
                       .expected = {},
                       .fix = "leave at least one layer for the adapter"});
  }
  return chosen;
}

void require_matching_patterns(const AdapterConfig& config,
                               const std::vector<std::string>& targets) {
  const auto require = [&](const char* key, const PatternMap& patterns) {
    for (const auto& [pattern, value] : patterns) {
      const bool matches = std::any_of(targets.begin(), targets.end(), [&](const auto& target) {
        return pattern_value({{pattern, 1.0}}, target, 0.0) != 0;
      });
      if (!matches)
        throw ConfigError(
            {.where = key,
             .found = fmt::format("'{}' matches no layer with an adapter", pattern),
             .expected = {},
             .fix = fmt::format("write the end of a name such as {}", targets.front())});
    }
  };
  require("rank_pattern", config.rank_pattern);
  require("alpha_pattern", config.alpha_pattern);
}

double pattern_value(const PatternMap& patterns, const std::string& name, double otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (std::regex_match(name,
                         compiled("(.*\\.)?(" + pattern + ")", "rank_pattern, alpha_pattern")))
      return value;
  }
  return otherwise;
}

}  // namespace lora_dist
