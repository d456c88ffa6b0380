// JSON from files that are not trusted: UTF-8 strict, no key twice, at most 64 levels deep, numbers
// finite.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// What is wrong with a JSON text.
struct JsonFault : std::exception {
  size_t byte = 0;           // offset in the text
  std::string found;         // "unexpected end"
  std::string expected;      // "',' or '}'"; may be empty
  std::string fix;           // may be empty
  std::string repeated_key;  // set: this key stands twice in one object
  int depth = 0;             // of that object; 1 is the outermost

  const char* what() const noexcept override { return found.c_str(); }
};

/// Json is nlohmann::ordered_json where the order of the keys means something, nlohmann::json where
/// there are many. Throws JsonFault.
template <class Json>
Json parse_json(std::string_view text);

/// A JSON file of a model, adapter or checkpoint; the outermost value is an object.
/// Errors  ModelError with file and byte, StorageError.
template <class Json = nlohmann::ordered_json>
Json read_json_file(const std::string& path, size_t max_bytes = size_t{64} << 20);

/// "a number", "a list", ...: what a value is, for messages.
std::string json_kind(nlohmann::json::value_t type);

/// As dump(), but a text that is not UTF-8 (a path may be anything) gets replacement characters
/// instead of throwing.
std::string utf8_dump(const nlohmann::ordered_json& value, int indent = -1);
/// Indented by 2, keys sorted at every level, newline at the end; a number that is not finite
/// becomes null.
std::string sorted_json_text(const nlohmann::ordered_json& value);

/// `object[key]` with its type checked. Errors  ModelError naming file, key, what was found and
/// what is wanted.
const nlohmann::ordered_json& json_member(const nlohmann::ordered_json& object,
                                          const std::string& key, const std::string& where);
std::string json_text(const nlohmann::ordered_json& object, const std::string& key,
                      const std::string& where);
int64_t json_integer(const nlohmann::ordered_json& object, const std::string& key,
                     const std::string& where);
double json_number(const nlohmann::ordered_json& object, const std::string& key,
                   const std::string& where);

}  // namespace lora_dist
