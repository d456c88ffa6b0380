#include "data/sources/json_text.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

bool ends_inside_string(std::string_view text) {
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      in_string = !in_string;
  }
  return in_string;
}

/// What to do about JSON that other programs write and JSON does not have.
std::string fix_of_json(std::string_view text, const JsonFault& fault) {
  if (!fault.fix.empty()) return fault.fix;
  const std::string_view rest = text.substr(std::min(fault.byte, text.size()));
  if (rest.starts_with("NaN") || rest.starts_with("Infinity") || rest.starts_with("-Infinity"))
    return "write null, JSON has no such number";
  if (rest.starts_with('\'') || rest.starts_with("None") || rest.starts_with("True") ||
      rest.starts_with("False"))
    return "this is how Python prints a dict; write it with json.dumps";
  return {};
}

}  // namespace

nlohmann::json parse_json_of_file(std::string_view text, const TextPlace& begin) {
  try {
    return parse_json<nlohmann::json>(text);
  } catch (const JsonFault& fault) {
    const std::string_view before = text.substr(0, fault.byte);
    const int64_t further_lines = std::count(before.begin(), before.end(), '\n');
    const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0: the first line
    const size_t column = fault.byte - line_begin + (further_lines > 0 ? 1 : begin.column);
    const bool at_end = fault.byte > 0 && fault.byte == text.size();
    const std::string found = at_end ? "unexpected end of text" : fault.found;
    throw DataError({.where = place(begin.path, begin.line_number + further_lines),
                     .found = fault.byte > 0 ? fmt::format("column {}: {}", column, found) : found,
                     .expected = at_end && ends_inside_string(text) ? "'\"'" : fault.expected,
                     .fix = fix_of_json(text, fault)});
  }
}

}  // namespace lora_dist
