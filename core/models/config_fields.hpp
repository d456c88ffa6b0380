// config.json as transformers' config classes read it: a key that is missing or null has the
// default of its family, and a value of another kind or out of range is refused by name.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace lora_dist {

class ConfigFields {
 public:
  /// `object` outlives it; `where` names the file in messages.
  ConfigFields(const nlohmann::ordered_json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  /// Whether the key is there with a value other than null.
  bool has(const char* key) const;
  bool is_null(const char* key) const;

  /// Each with the value of a missing or null key. Errors  ModelError.
  int64_t count(const char* key, int64_t missing) const;  // 1 to kLargestCount
  double positive(const char* key, double missing) const;
  double number(const char* key, double missing) const;  // finite
  bool flag(const char* key, bool missing) const;
  std::string text(const char* key, const std::string& missing) const;
  std::vector<double> positives(const char* key) const;  // empty where missing
  std::vector<std::string> texts(const char* key) const;
  /// A member that is an object; without members where missing.
  ConfigFields object(const char* key) const;

  const nlohmann::ordered_json& json() const { return object_; }
  const std::string& where() const { return where_; }
  [[noreturn]] void refuse(const char* key, const std::string& expected,
                           const std::string& fix = kOwnConfig) const;

  static constexpr int64_t kLargestCount = (int64_t{1} << 31) - 1;
  static constexpr const char* kOwnConfig = "use the config.json that came with the model";

 private:
  const nlohmann::ordered_json& object_;
  std::string where_;
};

}  // namespace lora_dist
