// What is wrong with the bytes of a config file before anyone parses them.
#include "core/config.hpp"
#include "core/config/yaml.hpp"
#include "core/error.hpp"

namespace lora_dist {
namespace {

/// Length of the UTF-8 sequence at `at`, or 0 where there is none (Unicode 15, table 3-7).
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;   // no overlong forms
    const unsigned high = first == 0xED ? 0x9F : 0xBF;  // no surrogates
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;  // nothing above U+10FFFF
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

void check_bytes(const std::string& text, const YamlSource& source) {
  int line = 1, column = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    if (text[at] == '\0')
      throw ConfigError({.where = source.place(line), .found = "NUL byte, not a text file"});
    if (length == 0)
      throw ConfigError({.where = source.place(line),
                         .found = fmt::format("byte 0x{:02X} in column {} is not UTF-8",
                                              static_cast<unsigned char>(text[at]), column),
                         .fix = "save as UTF-8"});
    const bool line_ends = text[at] == '\n';
    line += line_ends;
    column = line_ends ? 1 : column + 1;
    at += length;
  }
}

void check_indentation(const std::string& text, const YamlSource& source) {
  int line = 1;
  for (size_t start = 0; start < text.size(); ++line) {
    const size_t content = text.find_first_not_of(" \t", start);
    const size_t tab = text.find('\t', start);
    const bool blank =
        content == std::string::npos || text[content] == '\n' || text[content] == '\r';
    if (!blank && tab < content)
      throw ConfigError(
          {.where = source.place(line), .found = "tab in indentation", .fix = "use spaces"});
    const size_t end = text.find('\n', start);
    if (end == std::string::npos) break;
    start = end + 1;
  }
}

}  // namespace

std::string checked_text(const std::string& text, const YamlSource& source) {
  if (text.size() > static_cast<size_t>(kConfigBytes))
    throw ConfigError({.where = source.name,
                       .found = fmt::format("{} bytes, limit {}", text.size(), kConfigBytes),
                       .fix = "is this the data file?"});
  const std::string_view byte_order_mark = "\xEF\xBB\xBF";
  const std::string body =
      text.starts_with(byte_order_mark) ? text.substr(byte_order_mark.size()) : text;
  check_bytes(body, source);
  check_indentation(body, source);
  return body;
}

}  // namespace lora_dist
