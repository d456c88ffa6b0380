#include "core/models/config_fields.hpp"

#include <cmath>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostShown = 60;  // bytes of a value in a message

bool is_whole(const Json& value) {
  return value.is_number_integer() ||
         (value.is_number_float() && std::nearbyint(value.get<double>()) == value.get<double>());
}

}  // namespace

bool ConfigFields::has(const char* key) const {
  const auto value = object_.find(key);
  return value != object_.end() && !value->is_null();
}

bool ConfigFields::is_null(const char* key) const {
  const auto value = object_.find(key);
  return value != object_.end() && value->is_null();
}

void ConfigFields::refuse(const char* key, const std::string& expected,
                          const std::string& fix) const {
  std::string value = object_.contains(key)
                          ? object_[key].dump(-1, ' ', /*ensure_ascii=*/true,
                                              nlohmann::json::error_handler_t::replace)
                          : "missing";
  if (value.size() > kMostShown) value = value.substr(0, kMostShown) + "...";
  throw ModelError({.where = where_,
                    .found = fmt::format("{} is {}", key, value),
                    .expected = expected,
                    .fix = fix});
}

int64_t ConfigFields::count(const char* key, int64_t missing) const {
  if (!has(key)) return missing;
  const Json& value = object_[key];
  const double magnitude = value.is_number() ? value.get<double>() : 0;
  if (!is_whole(value) || magnitude < 1 || magnitude > static_cast<double>(kLargestCount))
    refuse(key, fmt::format("a whole number from 1 to {}", kLargestCount));
  return static_cast<int64_t>(magnitude);
}

double ConfigFields::number(const char* key, double missing) const {
  if (!has(key)) return missing;
  if (!object_[key].is_number() || !std::isfinite(object_[key].get<double>()))
    refuse(key, "a number");
  return object_[key].get<double>();
}

double ConfigFields::positive(const char* key, double missing) const {
  const double value = number(key, missing);
  if (has(key) && value <= 0) refuse(key, "a number above 0");
  return value;
}

bool ConfigFields::flag(const char* key, bool missing) const {
  if (!has(key)) return missing;
  if (!object_[key].is_boolean()) refuse(key, "true or false");
  return object_[key].get<bool>();
}

std::string ConfigFields::text(const char* key, const std::string& missing) const {
  if (!has(key)) return missing;
  if (!object_[key].is_string()) refuse(key, "a text");
  return object_[key].get<std::string>();
}

std::vector<double> ConfigFields::positives(const char* key) const {
  std::vector<double> values;
  if (!has(key)) return values;
  if (!object_[key].is_array()) refuse(key, "a list of numbers");
  for (const Json& value : object_[key]) {
    if (!value.is_number() || !(value.get<double>() > 0)) refuse(key, "numbers above 0");
    values.push_back(value.get<double>());
  }
  return values;
}

std::vector<std::string> ConfigFields::texts(const char* key) const {
  std::vector<std::string> values;
  if (!has(key)) return values;
  if (!object_[key].is_array()) refuse(key, "a list of texts");
  for (const Json& value : object_[key]) {
    if (!value.is_string()) refuse(key, "a list of texts");
    values.push_back(value.get<std::string>());
  }
  return values;
}

ConfigFields ConfigFields::object(const char* key) const {
  static const Json kNone = Json::object();
  if (!has(key)) return {kNone, fmt::format("{}: {}", where_, key)};
  if (!object_[key].is_object()) refuse(key, "an object");
  return {object_[key], fmt::format("{}: {}", where_, key)};
}

}  // namespace lora_dist
