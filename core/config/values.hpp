// One value of the config: from YAML to its C++ type, and back to YAML text.
//
// Each type has a read() that checks against the field's rule and a print() whose text read() gives
// the same value for. Messages say the key as the user spelt it and the value as the user wrote it.
#pragma once

#include <optional>
#include <string>

#include "core/config/config.hpp"
#include "core/config/yaml.hpp"

namespace lora_dist::config {

/// A given value with what messages need to know about it.
struct Given {
  std::string key;       // ours
  std::string spelling;  // the user's name for it
  std::string written;   // the user's value
  std::string where;     // "c.yaml:7"
  int line = 0;          // 0 on the command line
  YamlPtr value;         // in our terms
};

// All throw ConfigError; none is called with a null value.
void read(const Given& given, const FieldRule& rule, std::string& value);
void read(const Given& given, const FieldRule& rule, bool& value);
void read(const Given& given, const FieldRule& rule, int64_t& value);
void read(const Given& given, const FieldRule& rule, double& value);
void read(const Given& given, const FieldRule& rule, ModulePattern& value);
void read(const Given& given, const FieldRule& rule, PatternMap& value);
void read(const Given& given, const FieldRule& rule, NamedPaths& value);
template <class T>
void read(const Given& given, const FieldRule& rule, std::optional<T>& value) {
  read(given, rule, value.emplace());
}

std::string print(const std::string& value);
std::string print(bool value);
std::string print(int64_t value);
std::string print(double value);
std::string print(const ModulePattern& value);
std::string print(const PatternMap& value);
std::string print(const NamedPaths& value);
template <class T>
std::string print(const std::optional<T>& value) {
  return value ? print(*value) : "";
}

/// Errors  ConfigError: a value in ASCII is meant and a character only looks like it.
void refuse_look_alikes(const Given& given);

/// "true" or "false" for the spellings of YAML 1.1 (yes, off, True, ...), else nothing.
std::optional<bool> boolean_word(const std::string& text);
std::string lower_case(std::string text);
/// The help of a key and behind it its words that need an explanation.
std::string full_help(const std::string& help, const FieldRule& rule);
/// "1 to 1024", "above 0", "at least 1", "0 to below 1"; "" without bounds.
std::string describe_range(const FieldRule& rule);

}  // namespace lora_dist::config
