// Numbers and truth values. "1e-4" is a number here (it is a text to YAML 1.1 readers), and "010"
// is refused, because readers of YAML disagree whether it is 8 or 10.
#include <charconv>
#include <cmath>

#include "core/base/error.hpp"
#include "core/config/values.hpp"

namespace lora_dist::config {
namespace {

const std::string& scalar_text(const Given& given) {
  const YamlNode& node = *given.value;
  refuse_look_alikes(given);
  if (!node.is_scalar())
    throw ConfigError(
        {.where = given.where,
         .found = fmt::format("{} is a {}", given.spelling, node.is_list() ? "list" : "map"),
         .expected = "one value"});
  return node.text;
}

[[noreturn]] void fail(const Given& given, const std::string& problem,
                       const std::string& fix = "") {
  throw ConfigError({.where = given.where,
                     .found = fmt::format("{} '{}' {}", given.spelling, given.written, problem),
                     .fix = fix});
}

std::string bracketed_range(const FieldRule& rule) {
  const std::string range = describe_range(rule);
  return range.empty() ? "" : " (" + range + ")";
}

void refuse_leading_zero(const Given& given, std::string_view digits) {
  if (digits.starts_with('-')) digits.remove_prefix(1);
  const bool padded = digits.size() > 1 && digits[0] == '0' && std::isdigit(digits[1]);
  if (!padded) return;
  int64_t octal = 0, decimal = 0;
  const char* end = digits.data() + digits.size();
  const bool is_octal = std::from_chars(digits.data(), end, octal, 8).ptr == end;
  std::from_chars(digits.data(), end, decimal, 10);
  fail(given, "has a leading zero",
       is_octal && octal != decimal ? fmt::format("write {} or {}", octal, decimal)
                                    : fmt::format("write it without"));
}

void check_range(const Given& given, const FieldRule& rule, double number) {
  const bool low = rule.low_open ? number > rule.low : number >= rule.low;
  const bool high = rule.high_open ? number < rule.high : number <= rule.high;
  if (low && high) return;
  const bool closed = std::isfinite(rule.low) && std::isfinite(rule.high) && !rule.high_open;
  if (closed)
    throw ConfigError({.where = given.where,
                       .found = fmt::format("{} {} is outside {}", given.spelling, given.written,
                                            describe_range(rule))});
  throw ConfigError({.where = given.where,
                     .found = fmt::format("{} {}", given.spelling, given.written),
                     .expected = "a number " + describe_range(rule)});
}

std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

int64_t integer(const Given& given, const FieldRule& rule, std::string_view text) {
  text = without_plus(text);
  refuse_leading_zero(given, text);
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range && stop == end)
    fail(given, "is too large for a number");
  if (error != std::errc() || stop != end) fail(given, "is not an integer" + bracketed_range(rule));
  check_range(given, rule, static_cast<double>(number));
  return number;
}

double real(const Given& given, const FieldRule& rule, std::string_view text) {
  text = without_plus(text);
  refuse_leading_zero(given, text);
  const std::string word = lower_case(std::string(text));
  for (const char* name : {".nan", ".inf", "-.inf", "nan", "inf", "-inf", "infinity", "-infinity"})
    if (word == name) fail(given, "is not a finite number");
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (stop != end || error == std::errc::invalid_argument)
    fail(given, "is not a number" + bracketed_range(rule));
  if (error == std::errc::result_out_of_range) {
    // from_chars reports both ends alike; a negative exponent is the small one, which is 0.
    if (word.find("e-") == std::string::npos) fail(given, "is too large for a number");
    number = 0;
  }
  check_range(given, rule, number);
  return number;
}

}  // namespace

std::string describe_range(const FieldRule& rule) {
  const bool low = std::isfinite(rule.low), high = std::isfinite(rule.high);
  const std::string to = rule.high_open ? "to below" : "to";
  if (low && high) return fmt::format("{} {} {}", print(rule.low), to, print(rule.high));
  if (low) return fmt::format("{} {}", rule.low_open ? "above" : "at least", print(rule.low));
  if (high) return fmt::format("{} {}", rule.high_open ? "below" : "at most", print(rule.high));
  return "";
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::optional<bool> boolean_word(const std::string& text) {
  const std::string word = lower_case(text);
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return std::nullopt;
}

void read(const Given& given, const FieldRule&, bool& value) {
  const std::optional<bool> word = boolean_word(scalar_text(given));
  if (!word) fail(given, "is not true or false");
  value = *word;
}

void read(const Given& given, const FieldRule& rule, int64_t& value) {
  value = integer(given, rule, scalar_text(given));
}

void read(const Given& given, const FieldRule& rule, double& value) {
  value = real(given, rule, scalar_text(given));
}

void read(const Given& given, const FieldRule& rule, PatternMap& value) {
  if (!given.value->is_map())
    throw ConfigError({.where = given.where,
                       .found = fmt::format("{} '{}'", given.spelling, given.written),
                       .expected = "a map from layer names to numbers, {q_proj: 16}"});
  value.clear();
  for (const auto& [pattern, number] : given.value->map) {
    Given entry = given;
    entry.spelling = fmt::format("{} of '{}'", given.spelling, pattern->text);
    entry.written = describe(*number);
    entry.value = number;
    if (number->is_null()) fail(entry, "is not a number" + bracketed_range(rule));
    const std::string& text = scalar_text(entry);
    value.emplace_back(pattern->text, rule.whole ? static_cast<double>(integer(entry, rule, text))
                                                 : real(entry, rule, text));
  }
}

std::string print(bool value) { return value ? "true" : "false"; }

std::string print(int64_t value) { return std::to_string(value); }

std::string print(double value) {
  // Shortest digits that give the same double. YAML 1.1 readers want a point: 1.0e-08.
  std::string text = fmt::format("{}", value);
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos)
    text.insert(exponent, ".0");
  return text;
}

std::string print(const PatternMap& value) {
  std::vector<std::string> entries;
  for (const auto& [pattern, number] : value)
    entries.push_back(print(pattern) + ": " + print(number));
  return fmt::format("{{{}}}", fmt::join(entries, ", "));
}

}  // namespace lora_dist::config
