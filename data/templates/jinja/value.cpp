#include "data/templates/jinja/value.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/tokenizers/unicode.hpp"

namespace lora_dist::jinja {
namespace {

std::string float_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text, char quote, bool as_json) {
  std::string result(1, quote);
  for (const char c : text) {
    switch (c) {
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\\':
        result += "\\\\";
        break;
      default:
        if (c == quote) {
          result += std::string("\\") + c;
        } else if (as_json && c == '\b') {
          result += "\\b";
        } else if (as_json && c == '\f') {
          result += "\\f";
        } else if (static_cast<unsigned char>(c) < 0x20) {
          result += as_json ? fmt::format("\\u{:04x}", static_cast<int>(c))
                            : fmt::format("\\x{:02x}", static_cast<int>(c));
        } else {
          result += c;
        }
    }
  }
  return result + quote;
}

std::string python_quoted(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const bool has_double = text.find('"') != std::string::npos;
  return quoted(text, has_single && !has_double ? '"' : '\'', /*as_json=*/false);
}

void append_json(const Value& value, int64_t indent, int64_t depth, std::string& result) {
  const auto line = [&](int64_t level) {
    if (indent >= 0) result += "\n" + std::string(indent * level, ' ');
  };
  const std::string between = indent >= 0 ? "," : ", ";
  if (value.is_dict()) {
    const Dict& dict = value.dict();
    if (dict.empty()) {
      result += "{}";
      return;
    }
    result += '{';
    for (size_t i = 0; i < dict.size(); ++i) {
      if (i > 0) result += between;
      line(depth + 1);
      result += quoted(dict[i].first, '"', /*as_json=*/true) + ": ";
      append_json(dict[i].second, indent, depth + 1, result);
    }
    line(depth);
    result += '}';
  } else if (value.is_list()) {
    const List& list = value.list();
    if (list.empty()) {
      result += "[]";
      return;
    }
    result += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      if (i > 0) result += between;
      line(depth + 1);
      append_json(list[i], indent, depth + 1, result);
    }
    line(depth);
    result += ']';
  } else if (value.is_text()) {
    result += quoted(value.text(), '"', /*as_json=*/true);
  } else if (value.is_none()) {
    result += "null";
  } else if (value.is_bool()) {
    result += value.is_true() ? "true" : "false";
  } else if (value.is_number()) {
    result += value.str();
  } else {
    fault(value.kind() + " cannot be written as JSON");
  }
}

/// Python's bounds of a slice.
int64_t bound(const Value& value, int64_t length, int64_t absent, int64_t lowest, int64_t highest) {
  if (value.is_none()) return absent;
  int64_t index = value.integer();
  if (index < 0) index += length;
  return std::clamp(index, lowest, highest);
}

}  // namespace

void unknown(const std::string& text) { throw Failure(Failure::Kind::kUnknown, text); }
void fault(const std::string& text) { throw Failure(Failure::Kind::kFault, text); }

const std::string& Value::text() const {
  if (!is_text()) fault("a string is needed, not " + kind());
  return std::get<std::string>(content_);
}

const List& Value::list() const {
  if (!is_list()) fault("a list is needed, not " + kind());
  return *std::get<std::shared_ptr<List>>(content_);
}

const Dict& Value::dict() const {
  if (!is_dict()) fault("a mapping is needed, not " + kind());
  return *std::get<std::shared_ptr<Dict>>(content_);
}

int64_t Value::integer() const {
  if (is_bool()) return std::get<bool>(content_);
  if (!is_integer()) fault("an integer is needed, not " + kind());
  return std::get<int64_t>(content_);
}

double Value::number() const {
  return is_float() ? std::get<double>(content_) : static_cast<double>(integer());
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (is_text()) return !text().empty();
  if (is_list()) return !list().empty();
  if (is_dict()) return !dict().empty();
  return number() != 0;
}

std::string Value::str() const { return is_text() ? text() : is_undefined() ? "" : repr(); }

std::string Value::repr() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "None";
  if (is_bool()) return is_true() ? "True" : "False";
  if (is_integer()) return fmt::format("{}", integer());
  if (is_float()) return float_text(number());
  if (is_text()) return python_quoted(text());
  std::vector<std::string> entries;
  if (is_list()) {
    for (const Value& entry : list()) entries.push_back(entry.repr());
    return fmt::format("[{}]", fmt::join(entries, ", "));
  }
  for (const auto& [key, value] : dict())
    entries.push_back(python_quoted(key) + ": " + value.repr());
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

std::string Value::kind() const {
  if (is_undefined())
    return fmt::format("'{}', which is not defined", std::get<Undefined>(content_).name);
  if (is_none()) return "none";
  if (is_bool()) return "a boolean";
  if (is_number()) return "a number";
  if (is_text()) return "a string";
  return is_list() ? "a list" : "a mapping";
}

Value Value::member(const std::string& key) const {
  if (is_undefined()) fault(kind());
  if (is_dict()) {
    for (const auto& [name, value] : dict())
      if (name == key) return value;
  }
  return Undefined{key};
}

Value Value::at(const Value& index) const {
  if (is_undefined()) fault(kind());
  if (index.is_text()) return member(index.text());
  const bool has_positions = is_list() || is_text();
  if (!has_positions || !(index.is_integer() || index.is_bool())) return Undefined{index.str()};
  const List characters_of_text = is_text() ? items() : List();
  const List& entries = is_list() ? list() : characters_of_text;
  int64_t position = index.integer();
  const auto size = static_cast<int64_t>(entries.size());
  if (position < 0) position += size;
  if (position < 0 || position >= size) return Undefined{index.str()};
  return entries[position];
}

List Value::items() const {
  if (is_undefined()) return {};
  if (is_list()) return list();
  List result;
  if (is_dict()) {
    for (const auto& entry : dict()) result.emplace_back(entry.first);
  } else if (is_text()) {
    for (std::string& character : characters(text())) result.emplace_back(std::move(character));
  } else {
    fault(kind() + " has no entries to go through");
  }
  return result;
}

int64_t Value::length() const {
  if (is_list()) return static_cast<int64_t>(list().size());
  if (is_dict()) return static_cast<int64_t>(dict().size());
  if (is_text() || is_undefined()) return static_cast<int64_t>(items().size());
  fault(kind() + " has no length");
}

void Value::put(const std::string& key, Value value) const {
  if (!is_dict()) fault("a namespace is needed, not " + kind());
  Dict& entries = *std::get<std::shared_ptr<Dict>>(content_);
  for (auto& [name, old] : entries) {
    if (name != key) continue;
    old = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.is_text() && b.is_text()) return a.text() == b.text();
  if (a.is_list() && b.is_list())
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), equal);
  if (a.is_dict() && b.is_dict()) {
    return a.dict().size() == b.dict().size() &&
           std::all_of(a.dict().begin(), a.dict().end(), [&](const auto& entry) {
             const Value other = b.member(entry.first);
             return !other.is_undefined() && equal(entry.second, other);
           });
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_text() && b.is_text()) return a.text() < b.text();
  fault(fmt::format("{} and {} have no order", a.kind(), b.kind()));
}

bool contains(const Value& whole, const Value& member) {
  if (whole.is_text()) return whole.text().find(member.text()) != std::string::npos;
  const List entries = whole.items();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const Value& entry) { return equal(entry, member); });
}

Value slice(const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (!value.is_text() && !value.is_list()) fault(value.kind() + " cannot be sliced");
  const List entries = value.items();
  const auto length = static_cast<int64_t>(entries.size());
  const int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) fault("a slice of step 0");
  const bool forward = stride > 0;
  const int64_t lowest = forward ? 0 : -1, highest = forward ? length : length - 1;
  const int64_t first = bound(begin, length, forward ? 0 : length - 1, lowest, highest);
  const int64_t last = bound(end, length, forward ? length : -1, lowest, highest);
  List kept;
  for (int64_t i = first; forward ? i < last : i > last; i += stride) kept.push_back(entries[i]);
  if (value.is_list()) return kept;
  std::string text;
  for (const Value& character : kept) text += character.text();
  return text;
}

std::string to_json(const Value& value, int64_t indent) {
  std::string result;
  append_json(value, indent, 0, result);
  return result;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> result;
  for (size_t pos = 0, bytes = 0; pos < text.size(); pos += bytes) {
    bytes = char_bytes(text, pos);
    result.emplace_back(text.substr(pos, bytes));
  }
  return result;
}

}  // namespace lora_dist::jinja
