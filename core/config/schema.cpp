// JSON Schema of the config, so that editors complete keys and underline mistakes.
#include <algorithm>
#include <cmath>

#include "core/config/aliases.hpp"
#include "core/config/values.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

void add_range(Json& schema, const FieldRule& rule) {
  if (std::isfinite(rule.low)) schema[rule.low_open ? "exclusiveMinimum" : "minimum"] = rule.low;
  if (std::isfinite(rule.high)) schema[rule.high_open ? "exclusiveMaximum" : "maximum"] = rule.high;
}

// What may stand in the file, null included: an empty value is the default.
Json schema_of(const std::string&, const FieldRule& rule) {
  if (rule.auto_or_count) return {{"type", {"string", "integer", "null"}}, {"minimum", 1}};
  if (rule.file_name) return {{"type", {"string", "null"}}, {"pattern", "^[^/\\s]+$"}};
  if (rule.one_of.empty()) return {{"type", {"string", "boolean", "number", "null"}}};
  Json words = rule.one_of;
  for (const bool truth : {true, false})
    if (std::find(rule.one_of.begin(), rule.one_of.end(), config::print(truth)) !=
        rule.one_of.end())
      words.push_back(truth);
  words.push_back(nullptr);
  return {{"enum", words}};
}
Json schema_of(bool, const FieldRule&) { return {{"type", {"boolean", "null"}}}; }
Json schema_of(int64_t, const FieldRule& rule) {
  Json schema = {{"type", {"integer", "null"}}};
  add_range(schema, rule);
  return schema;
}
Json schema_of(double, const FieldRule& rule) {
  Json schema = {{"type", {"number", "null"}}};
  add_range(schema, rule);
  return schema;
}
Json schema_of(const ModulePattern&, const FieldRule&) {
  return {{"type", {"string", "array", "null"}}, {"items", {{"type", "string"}}}};
}
Json schema_of(const PatternMap&, const FieldRule& rule) {
  Json number = {{"type", rule.whole ? "integer" : "number"}};
  add_range(number, rule);
  return {{"type", {"object", "null"}}, {"additionalProperties", number}};
}
Json schema_of(const NamedPaths&, const FieldRule&) {
  const Json path = {{"type", "string"}};
  return {{"type", {"string", "array", "object", "null"}},
          {"items", path},
          {"additionalProperties", path}};
}
template <class T>
Json schema_of(const std::optional<T>&, const FieldRule& rule) {
  return schema_of(T{}, rule);
}

Json as_json(const std::string& value) { return value; }
Json as_json(bool value) { return value; }
Json as_json(int64_t value) { return value; }
Json as_json(double value) { return value; }
Json as_json(const ModulePattern& value) { return value.suffixes; }
Json as_json(const PatternMap&) { return Json::object(); }
Json as_json(const NamedPaths&) { return ""; }
template <class T>
Json as_json(const std::optional<T>& value) {
  return value ? as_json(*value) : Json(nullptr);
}

}  // namespace

std::string config_schema() {
  Json properties = Json::object();
  Config().each_field([&](const char* key, auto& value, const FieldRule& rule, const char* help) {
    Json schema = schema_of(value, rule);
    schema["default"] = as_json(value);
    schema["description"] =
        config::full_help(help, rule) +
        (rule.not_yet.empty() ? "" : fmt::format(" (not available yet: {})", rule.not_yet));
    properties[key] = schema;
  });
  for (const config::KeyAlias& alias : config::key_aliases())
    if (!properties.contains(alias.theirs))
      properties[std::string(alias.theirs)] = {
          {"description", fmt::format("alias of {}", alias.ours)}, {"deprecated", true}};
  Json patterns = Json::object();
  for (const config::ForeignKey& key : config::foreign_keys()) {
    const Json described = {{"description", fmt::format("of another tool: {}", key.why)},
                            {"deprecated", true}};
    if (key.theirs.ends_with('*'))
      patterns[fmt::format("^{}", key.theirs.substr(0, key.theirs.size() - 1))] = described;
    else
      properties[std::string(key.theirs)] = described;
  }
  properties["datasets"] = {{"description", "one data set as Axolotl writes it"},
                            {"deprecated", true}};
  const Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "lora-dist configuration"},
                       {"type", "object"},
                       {"properties", properties},
                       {"patternProperties", patterns},
                       {"additionalProperties", false}};
  return schema.dump(2) + "\n";
}

}  // namespace lora_dist
