#include "data/io/json.hpp"

#include <set>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr int kMaxDepth = 64;

/// The part of nlohmann's message behind `mark`, up to the end or `stop`.
std::string part_of(const std::string& message, std::string_view mark, std::string_view stop) {
  const size_t start = message.find(mark);
  if (start == std::string::npos) return {};
  const size_t begin = start + mark.size();
  return message.substr(begin, message.find(stop, begin) - begin);
}

/// Turns the library's message into ours: what it met, and what could have stood there.
JsonFault fault_of(const nlohmann::json::parse_error& error, std::string_view text) {
  const std::string message = error.what();
  JsonFault fault;
  fault.byte = std::min(error.byte == 0 ? 0 : error.byte - 1, text.size());
  fault.expected = part_of(message, "; expected ", "\n");
  // After a complete value the library knows only one of the two ways to go on.
  if (fault.expected == "'}'" || fault.expected == "']'")
    fault.expected = "',' or " + fault.expected;
  if (message.find("unexpected end of input") != std::string::npos || fault.byte == text.size())
    fault.found = "unexpected end";
  else
    fault.found = fmt::format("unexpected '{}'", printable(text.substr(fault.byte, 1)));
  if (message.find("ill-formed UTF-8") != std::string::npos)
    fault.found = "bytes that are not UTF-8";
  if (message.find("must be escaped to") != std::string::npos) {
    fault.found = fault.byte < text.size() && text[fault.byte] == '\n'
                      ? "a line end inside a string"
                      : "a control character inside a string";
    fault.expected = "its escape, as in \\n";
  }
  if (message.find("surrogate") != std::string::npos) {
    fault.found = "half of a surrogate pair";
    fault.expected = "both halves of a character such as \\ud83d\\ude00";
    fault.fix = "the text was cut inside a character; write all of it or none";
  }
  return fault;
}

[[noreturn]] void fail(std::string found, int depth, std::string repeated_key = {}) {
  JsonFault fault;
  fault.found = std::move(found);
  fault.depth = depth;
  fault.repeated_key = std::move(repeated_key);
  throw fault;
}

}  // namespace

template <class Json>
Json parse_json(std::string_view text) {
  std::vector<std::set<std::string>> keys_by_depth;
  const auto watch = [&](int depth, typename Json::parse_event_t event, Json& parsed) {
    using Event = typename Json::parse_event_t;
    if (depth >= kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth), depth);
    if (event == Event::object_start) {
      keys_by_depth.resize(static_cast<size_t>(depth) + 1);
      keys_by_depth.back().clear();  // [number of containers around the object]
    } else if (event == Event::key) {
      // Here `depth` counts the object that holds the key too.
      const std::string& key = parsed.template get_ref<const std::string&>();
      if (!keys_by_depth[static_cast<size_t>(depth) - 1].insert(key).second)
        fail(fmt::format("key '{}' stands twice", printable(key)), depth, key);
    } else if (event == Event::object_end) {
      keys_by_depth.resize(static_cast<size_t>(depth));
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const typename Json::parse_error& error) {
    throw fault_of(error, text);
  } catch (const typename Json::out_of_range&) {
    fail("a number is too large", 0);
  }
}

template nlohmann::json parse_json(std::string_view);
template nlohmann::ordered_json parse_json(std::string_view);

template <class Json>
Json read_json_file(const std::string& path, size_t max_bytes) {
  const std::string text = read_file(path, max_bytes);
  try {
    Json value = parse_json<Json>(text);
    if (!value.is_object())
      throw ModelError(
          {path, fmt::format("holds {}", json_kind(value.type())), "a JSON object", {}});
    return value;
  } catch (const JsonFault& fault) {
    const std::string where = fault.byte == 0 ? path : fmt::format("{}: byte {}", path, fault.byte);
    throw ModelError({where, fault.found, fault.expected, "restore or download it again"});
  }
}

template nlohmann::json read_json_file(const std::string&, size_t);
template nlohmann::ordered_json read_json_file(const std::string&, size_t);

std::string json_kind(nlohmann::json::value_t type) {
  using Kind = nlohmann::json::value_t;
  switch (type) {
    case Kind::null:
      return "null";
    case Kind::object:
      return "an object";
    case Kind::array:
      return "a list";
    case Kind::string:
      return "a string";
    case Kind::boolean:
      return "true or false";
    default:
      return "a number";
  }
}

std::string utf8_dump(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false,
                    nlohmann::ordered_json::error_handler_t::replace);
}

std::string sorted_json_text(const nlohmann::ordered_json& value) {
  return utf8_dump(nlohmann::json(value), /*indent=*/2) + "\n";  // json keeps its keys sorted
}

const nlohmann::ordered_json& json_member(const nlohmann::ordered_json& object,
                                          const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) throw ModelError({where, fmt::format("'{}' is missing", key), {}, {}});
  return *found;
}

namespace {

[[noreturn]] void fail_type(const nlohmann::ordered_json& value, const std::string& key,
                            const std::string& where, const char* expected) {
  throw ModelError({where, fmt::format("'{}' is {}", key, printable(value.dump())), expected, {}});
}

}  // namespace

std::string json_text(const nlohmann::ordered_json& object, const std::string& key,
                      const std::string& where) {
  const auto& value = json_member(object, key, where);
  if (!value.is_string()) fail_type(value, key, where, "a text");
  return value.get<std::string>();
}

int64_t json_integer(const nlohmann::ordered_json& object, const std::string& key,
                     const std::string& where) {
  const auto& value = json_member(object, key, where);
  if (!value.is_number_integer()) fail_type(value, key, where, "an integer");
  return value.get<int64_t>();
}

double json_number(const nlohmann::ordered_json& object, const std::string& key,
                   const std::string& where) {
  const auto& value = json_member(object, key, where);
  if (!value.is_number()) fail_type(value, key, where, "a number");
  return value.get<double>();
}

}  // namespace lora_dist
