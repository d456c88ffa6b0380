// What is wrong with the bytes of a config file before anyone parses them, and with characters that
// only look like YAML's.
#include <algorithm>
#include <optional>

#include "core/base/error.hpp"
#include "core/config/config.hpp"
#include "core/config/look_alikes.hpp"
#include "core/config/yaml.hpp"

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

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view without_blanks_around(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Calls visit(line number, line without its end).
template <class Visit>
void each_line(const std::string& text, Visit&& visit) {
  int number = 1;
  for (size_t start = 0; start < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', start), text.size());
    visit(number, std::string_view(text).substr(start, end - start));
    start = end + 1;
  }
}

/// What is wrong with a line, and the line as it was meant.
struct LineFault {
  std::string found, fix, meant;
};

std::optional<LineFault> fault_of_indentation(std::string_view line) {
  const size_t content = std::min(line.find_first_not_of(" \t"), line.size());
  if (without_blanks_around(line).empty()) return std::nullopt;
  const std::string_view rest = line.substr(content);
  if (line.find('\t') < content)
    return LineFault{"tab in indentation", "use spaces", std::string(2, ' ') + std::string(rest)};
  const auto odd = config::leading_look_alike(rest);
  if (!odd || odd->meant != " ") return std::nullopt;
  return LineFault{
      shown(*odd) + " in indentation", "use spaces",
      std::string(line.substr(0, content)) + " " + std::string(rest.substr(odd->character.size()))};
}

size_t length_of_name(std::string_view line) {
  const auto is_letter = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  size_t length = 0;
  while (length < line.size() && is_letter(line[length])) ++length;
  return length;
}

/// Whether a value that begins with a quote ends it on its line.
bool is_quote_closed(std::string_view value) {
  const char quote = value.front();
  for (size_t i = 1; i < value.size(); ++i) {
    if (quote == '"' && value[i] == '\\') {
      ++i;
    } else if (value[i] == quote) {
      const bool is_doubled = quote == '\'' && i + 1 < value.size() && value[i + 1] == quote;
      if (!is_doubled) return true;
      ++i;
    }
  }
  return false;
}

/// A line at the left margin begins a key or a comment, whatever stands around it.
std::optional<LineFault> fault_at_margin(std::string_view line) {
  const auto fault = [](const std::string& found, const std::string& meant) {
    return LineFault{found, fmt::format("write `{}`", shortened(meant)), meant};
  };
  if (const auto first = config::leading_look_alike(line); first && !first->meant.empty())
    return fault(shown(*first) + " begins the line", config::without_look_alikes(line));
  const std::string name(line.substr(0, length_of_name(line)));
  std::string_view rest = without_blanks_around(line.substr(name.size()));
  if (name.empty() || rest.empty()) return std::nullopt;
  const auto meant = [&](size_t length_of_colon) {
    std::string_view value = rest.substr(length_of_colon);
    while (const auto blank = config::leading_look_alike(value)) {
      if (blank->meant != " ") break;
      value.remove_prefix(blank->character.size());
    }
    return fmt::format("{}: {}", name, without_blanks_around(value));
  };
  if (const auto colon = config::leading_look_alike(rest); colon && colon->meant == ":")
    return fault(fmt::format("{} after '{}'", shown(*colon), name), meant(colon->character.size()));
  if (rest.size() > 1 && rest[0] == ':' && !is_blank(rest[1]))
    return fault(fmt::format("no blank after '{}:'", name), meant(1));
  if (rest[0] != ':') return std::nullopt;
  const std::string_view value = without_blanks_around(rest.substr(1));
  if (!value.empty() && (value[0] == '"' || value[0] == '\'') && !is_quote_closed(value))
    return fault(fmt::format("a quote behind '{}' that is not closed on its line", name),
                 fmt::format("{}: {}{}", name, value, value[0]));
  return std::nullopt;
}

std::optional<LineFault> fault_of_line(std::string_view line, const YamlSource& source) {
  std::optional<LineFault> fault = fault_of_indentation(line);
  if (!fault && source.has_lines) fault = fault_at_margin(line);
  return fault;
}

}  // namespace

std::string checked_text(const std::string& text, const YamlSource& source) {
  if (text.size() > static_cast<size_t>(kConfigBytes))
    throw ConfigError({.where = source.name,
                       .found = fmt::format("{} bytes, limit {}", text.size(), kConfigBytes),
                       .fix = "is this the data file?"});
  const std::string_view byte_order_mark = "\xEF\xBB\xBF";
  std::string body = text.starts_with(byte_order_mark) ? text.substr(byte_order_mark.size()) : text;
  check_bytes(body, source);
  // Old editors on a Mac end lines with a carriage return alone.
  if (body.find('\n') == std::string::npos) std::ranges::replace(body, '\r', '\n');
  return body;
}

MendedText mended_text(const std::string& text, const YamlSource& source) {
  MendedText mended;
  each_line(checked_text(text, source), [&](int number, std::string_view line) {
    const std::optional<LineFault> fault = fault_of_line(line, source);
    mended.text += (fault ? fault->meant : std::string(line)) + "\n";
    if (fault)
      mended.faults.push_back(
          ConfigError({.where = source.place(number), .found = fault->found, .fix = fault->fix}));
  });
  return mended;
}

}  // namespace lora_dist
