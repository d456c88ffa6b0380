#include "data/sources/json_text.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "data/json.hpp"
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

}  // namespace

nlohmann::json parse_json_of_file(std::string_view text, const std::string& path,
                                  int64_t first_line) {
  try {
    return parse_json<nlohmann::json>(text);
  } catch (const JsonFault& fault) {
    const std::string_view before = text.substr(0, fault.byte);
    const int64_t line_number = first_line + std::count(before.begin(), before.end(), '\n');
    const size_t column =
        fault.byte - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0: the first line
    const bool at_end = fault.byte > 0 && fault.byte == text.size();
    const std::string found = at_end ? "unexpected end of text" : fault.found;
    throw DataError({.where = place(path, line_number),
                     .found = fault.byte > 0 ? fmt::format("column {}: {}", column, found) : found,
                     .expected = at_end && ends_inside_string(text) ? "'\"'" : fault.expected,
                     .fix = {}});
  }
}

}  // namespace lora_dist
