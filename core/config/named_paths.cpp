// Several data sets under one key: a list of paths, or a map from names to paths.
#include <algorithm>

#include "core/base/error.hpp"
#include "core/config/values.hpp"

namespace lora_dist::config {
namespace {

ConfigError no_paths(const Given& given) {
  return ConfigError({.where = given.where,
                      .found = fmt::format("{} '{}'", given.spelling, given.written),
                      .expected = "a path, a list of paths, or a map from names to paths"});
}

const std::string& path_of(const Given& given, const YamlPtr& node) {
  if (!node->is_scalar() || node->text.empty()) throw no_paths(given);
  return node->text;
}

/// A name becomes part of the name of a metric and of a TensorBoard tag.
std::string as_set_name(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c)) &&
        c != '.' && c != '-')
      c = '_';
  return text;
}

/// "data/old.jsonl" -> "old", a second one of that name "old_2".
std::string name_from_path(const std::string& path, const NamedPaths& before) {
  const size_t last = path.find_last_not_of('/');
  std::string stem = path.substr(0, last == std::string::npos ? 0 : last + 1);
  stem = stem.substr(stem.find_last_of('/') + 1);
  const size_t point = stem.find_last_of('.');
  if (point != std::string::npos && point > 0) stem.resize(point);
  const std::string name = stem.empty() ? "set" : as_set_name(stem);
  const auto is_taken = [&](const std::string& candidate) {
    return std::any_of(before.sets.begin(), before.sets.end(),
                       [&](const auto& set) { return set.first == candidate; });
  };
  std::string free = name;
  for (int number = 2; is_taken(free); ++number) free = fmt::format("{}_{}", name, number);
  return free;
}

}  // namespace

void read(const Given& given, const FieldRule&, NamedPaths& value) {
  const YamlNode& node = *given.value;
  NamedPaths paths;
  if (node.is_scalar()) {
    if (!node.text.empty()) paths.sets = {{"", node.text}};
  } else if (node.is_list()) {
    for (const YamlPtr& item : node.items) {
      const std::string& path = path_of(given, item);
      paths.sets.emplace_back(node.items.size() == 1 ? "" : name_from_path(path, paths), path);
    }
  } else {
    for (const auto& [name, path] : node.map) {
      if (name->text.empty() || as_set_name(name->text) != name->text)
        throw ConfigError(
            {.where = given.where,
             .found = fmt::format("{} has a set named '{}'", given.spelling, shortened(name->text)),
             .expected = "letters, digits, '.', '_' and '-'"});
      paths.sets.emplace_back(name->text, path_of(given, path));
    }
  }
  if (!node.is_scalar() && paths.empty()) throw no_paths(given);
  value = std::move(paths);
}

std::string print(const NamedPaths& value) {
  if (value.empty()) return print(std::string());
  if (value.sets.size() == 1 && value.sets.front().first.empty())
    return print(value.sets.front().second);
  std::vector<std::string> entries;
  for (const auto& [name, path] : value.sets) entries.push_back(print(name) + ": " + print(path));
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

}  // namespace lora_dist::config
