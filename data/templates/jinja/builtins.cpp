#include "data/templates/jinja/builtins.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "data/tokenizers/unicode.hpp"

namespace lora_dist::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;        // as Jinja's sandbox
constexpr std::time_t kFixedDay = 1'721'952'000;  // 26 July 2024, the day that Llama 3.1 made usual

const std::string& ascii(const std::string& text) {
  if (!is_ascii(text)) unknown("upper and lower case of '" + text + "'");
  return text;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string capitalized(const std::string& text) {
  return upper(text.substr(0, 1)) + lower(text.substr(std::min<size_t>(1, text.size())));
}

/// Each word begins with a capital; `inside_word` are characters that do not begin a new one.
std::string titled(const std::string& text, std::string_view inside_word) {
  std::string result;
  bool in_word = false;
  for (const char c : text) {
    const bool letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
    result += in_word ? lower(std::string(1, c)) : upper(std::string(1, c));
    in_word = letter || (in_word && inside_word.find(c) != std::string_view::npos);
  }
  return result;
}

enum class Side { kLeft, kRight, kBoth };

/// Python's strip: white space, or the characters of `set`.
std::string stripped(const std::string& text, const Value& set, Side side) {
  size_t begin = 0, end = text.size();
  if (set.is_none()) {
    if (side != Side::kRight) begin = leading_space(text);
    if (side != Side::kLeft && begin < end) end -= trailing_space(text);
  } else {
    const std::vector<std::string> all = characters(text);
    const auto taken = [&](const std::string& c) {
      return set.text().find(c) != std::string::npos;
    };
    size_t first = 0, last = all.size();
    if (side != Side::kRight)
      for (; first < last && taken(all[first]); ++first) begin += all[first].size();
    if (side != Side::kLeft)
      for (; last > first && taken(all[last - 1]); --last) end -= all[last - 1].size();
  }
  return text.substr(begin, end - begin);
}

Value split(const std::string& text, const Value& separator, int64_t max_splits) {
  List parts;
  size_t begin = 0;
  const auto may_split = [&] {
    return max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits;
  };
  if (separator.is_none()) {
    const std::string_view view(text);
    begin += leading_space(view);
    while (begin < text.size()) {
      size_t end = begin;
      while (end < text.size() && leading_space(view.substr(end)) == 0)
        end += char_bytes(view, end);
      if (!may_split()) {
        parts.emplace_back(stripped(text.substr(begin), Value(), Side::kRight));
        return parts;
      }
      parts.emplace_back(text.substr(begin, end - begin));
      begin = end + leading_space(view.substr(end));
    }
    return parts;
  }
  const std::string& at = separator.text();
  if (at.empty()) fault("split: empty separator");
  for (size_t found; may_split() && (found = text.find(at, begin)) != std::string::npos;
       begin = found + at.size())
    parts.emplace_back(text.substr(begin, found - begin));
  parts.emplace_back(text.substr(begin));
  return parts;
}

Value split_from_right(const std::string& text, const std::string& at, int64_t max_splits) {
  if (at.empty()) fault("rsplit: empty separator");
  List parts;
  size_t end = text.size();
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t found = end < at.size() ? std::string::npos : text.rfind(at, end - at.size());
    if (found == std::string::npos) break;
    parts.emplace_back(text.substr(found + at.size(), end - found - at.size()));
    end = found;
  }
  parts.emplace_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     int64_t count) {
  if (from.empty()) unknown("replacing an empty text");
  std::string result;
  size_t begin = 0;
  for (size_t found; count != 0 && (found = text.find(from, begin)) != std::string::npos;
       begin = found + from.size(), --count)
    result += text.substr(begin, found - begin) + to;
  return result + text.substr(begin);
}

bool has_affix(const std::string& text, const Value& affix, bool at_start) {
  if (affix.is_list()) {
    return std::any_of(affix.list().begin(), affix.list().end(),
                       [&](const Value& one) { return has_affix(text, one, at_start); });
  }
  return at_start ? text.starts_with(affix.text()) : text.ends_with(affix.text());
}

/// "a.b.0" of an entry.
Value attribute_of(const Value& entry, const Value& path) {
  if (!path.is_text()) return entry.at(path);
  Value result = entry;
  const Value steps = split(path.text(), ".", -1);
  for (const Value& step : steps.list()) {
    const bool is_index =
        !step.text().empty() && std::all_of(step.text().begin(), step.text().end(), ::isdigit);
    result = is_index ? result.at(Value(static_cast<int64_t>(std::stoll(step.text()))))
                      : result.member(step.text());
  }
  return result;
}

Values without_first(const Values& arguments, size_t count) {
  Values rest{.positional = {}, .named = arguments.named};
  for (size_t i = count; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  return rest;
}

Value mapped(const Value& value, const Values& arguments) {
  List result;
  const Value attribute = arguments.get(SIZE_MAX, "attribute");
  for (const Value& entry : value.items()) {
    if (attribute.is_none()) {
      result.push_back(
          filter_named(arguments.get(0, "").text())(entry, without_first(arguments, 1)));
      continue;
    }
    const Value found = attribute_of(entry, attribute);
    result.push_back(found.is_undefined() ? arguments.get(SIZE_MAX, "default", found) : found);
  }
  return result;
}

/// select, reject, selectattr and rejectattr.
Filter choosing(bool by_attribute, bool wanted) {
  return [=](const Value& value, const Values& arguments) -> Value {
    List kept;
    const size_t at = by_attribute ? 1 : 0;
    if (!value.is_true()) return kept;  // none, too
    for (const Value& entry : value.items()) {
      const Value tested = by_attribute ? attribute_of(entry, arguments.get(0, "")) : entry;
      const Value test = arguments.get(at, "");
      const bool holds = test.is_none()
                             ? tested.is_true()
                             : test_named(test.text())(tested, without_first(arguments, at + 1));
      if (holds == wanted) kept.push_back(entry);
    }
    return kept;
  };
}

Value joined(const Value& value, const Values& arguments) {
  const std::string between = arguments.get(0, "d", "").str();
  const Value attribute = arguments.get(1, "attribute");
  std::string result;
  bool is_first = true;
  for (const Value& entry : value.items()) {
    if (!is_first) result += between;
    result += attribute.is_none() ? entry.str() : attribute_of(entry, attribute).str();
    is_first = false;
  }
  return result;
}

Value entries_of(const Value& value) {
  List result;
  if (value.is_undefined()) return result;
  for (const auto& [key, entry] : value.dict()) result.emplace_back(List{Value(key), entry});
  return result;
}

Value sorted(const Value& value, const Values& arguments) {
  List entries = value.items();
  const Value attribute = arguments.get(2, "attribute");
  const bool exact = arguments.get(1, "case_sensitive", false).is_true();
  const auto key = [&](const Value& entry) {
    const Value of = attribute.is_none() ? entry : attribute_of(entry, attribute);
    return of.is_text() && !exact ? Value(lower(ascii(of.text()))) : of;
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Value& a, const Value& b) { return less(key(a), key(b)); });
  if (arguments.get(0, "reverse", false).is_true()) std::reverse(entries.begin(), entries.end());
  return entries;
}

Value sorted_entries(const Value& value, const Values& arguments) {
  if (!arguments.positional.empty() || !arguments.named.empty()) unknown("dictsort with arguments");
  List entries = entries_of(value).list();
  std::stable_sort(entries.begin(), entries.end(), [](const Value& a, const Value& b) {
    return lower(ascii(a.list()[0].text())) < lower(ascii(b.list()[0].text()));
  });
  return entries;
}

Value indented(const Value& value, const Values& arguments) {
  const Value width = arguments.get(0, "width", Value(int64_t{4}));
  const std::string blank = width.is_text() ? width.text() : std::string(width.integer(), ' ');
  const bool first = arguments.get(1, "first", false).is_true();
  const bool blank_lines = arguments.get(2, "blank", false).is_true();
  const Value lines = split(value.str(), "\n", -1);
  std::string result;
  for (size_t i = 0; i < lines.list().size(); ++i) {
    const std::string& line = lines.list()[i].text();
    if (i > 0) result += '\n';
    if (i == 0 ? first : blank_lines || !line.empty()) result += blank;
    result += line;
  }
  return result;
}

Value as_integer(const Value& value, const Values& arguments) {
  const Value absent = arguments.get(0, "default", Value(int64_t{0}));
  if (value.is_float()) return static_cast<int64_t>(value.number());
  if (value.is_number()) return value.integer();
  if (!value.is_text()) return absent;
  const std::string text = stripped(value.text(), Value(), Side::kBoth);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return absent;
}

Value unique(const Value& value, const Values&) {
  List kept;
  for (const Value& entry : value.items()) {
    const auto key = [](const Value& of) {
      return of.is_text() ? Value(lower(ascii(of.text()))) : of;
    };
    if (std::none_of(kept.begin(), kept.end(),
                     [&](const Value& other) { return equal(key(other), key(entry)); }))
      kept.push_back(entry);
  }
  return kept;
}

Value sum(const Value& value, const Values& arguments) {
  const Value attribute = arguments.get(0, "attribute");
  int64_t total = 0;
  for (const Value& entry : value.items())
    total += (attribute.is_none() ? entry : attribute_of(entry, attribute)).integer();
  return total;
}

Filter extreme(bool largest) {
  return [largest](const Value& value, const Values& arguments) -> Value {
    if (!arguments.positional.empty() || !arguments.named.empty()) unknown("min with arguments");
    const List entries = value.items();
    if (entries.empty()) return Value::Undefined{"min"};
    Value best = entries[0];
    for (const Value& entry : entries)
      if (largest ? less(best, entry) : less(entry, best)) best = entry;
    return best;
  };
}

Value json_of(const Value& value, const Values& arguments) {
  for (const auto& [name, argument] : arguments.named)
    if (name != "indent" && name != "ensure_ascii") unknown("tojson with " + name);
  if (arguments.get(SIZE_MAX, "ensure_ascii", false).is_true()) unknown("tojson in ASCII");
  const Value indent = arguments.get(1, "indent");
  return to_json(value, indent.is_none() ? -1 : indent.integer());
}

Value default_of(const Value& value, const Values& arguments) {
  const bool replace =
      arguments.get(1, "boolean", false).is_true() ? !value.is_true() : value.is_undefined();
  return replace ? arguments.get(0, "default_value", "") : value;
}

const std::map<std::string, Filter>& filters() {
  static const std::map<std::string, Filter> table = {
      {"trim",
       [](const Value& value, const Values& arguments) -> Value {
         return stripped(value.str(), arguments.get(0, "chars"), Side::kBoth);
       }},
      {"tojson", json_of},
      {"length", [](const Value& value, const Values&) -> Value { return value.length(); }},
      {"count", [](const Value& value, const Values&) -> Value { return value.length(); }},
      {"list", [](const Value& value, const Values&) -> Value { return value.items(); }},
      {"string", [](const Value& value, const Values&) -> Value { return value.str(); }},
      {"safe", [](const Value& value, const Values&) -> Value { return value.str(); }},
      {"int", as_integer},
      {"join", joined},
      {"map", mapped},
      {"select", choosing(false, true)},
      {"reject", choosing(false, false)},
      {"selectattr", choosing(true, true)},
      {"rejectattr", choosing(true, false)},
      {"upper",
       [](const Value& value, const Values&) -> Value { return upper(ascii(value.str())); }},
      {"lower",
       [](const Value& value, const Values&) -> Value { return lower(ascii(value.str())); }},
      {"capitalize",
       [](const Value& value, const Values&) -> Value { return capitalized(ascii(value.str())); }},
      {"title",
       [](const Value& value, const Values&) -> Value {
         return titled(ascii(value.str()), "'0123456789_");
       }},
      {"first",
       [](const Value& value, const Values&) -> Value {
         const List entries = value.items();
         return entries.empty() ? Value(Value::Undefined{"first"}) : entries.front();
       }},
      {"last",
       [](const Value& value, const Values&) -> Value {
         const List entries = value.items();
         return entries.empty() ? Value(Value::Undefined{"last"}) : entries.back();
       }},
      {"default", default_of},
      {"d", default_of},
      {"items", [](const Value& value, const Values&) -> Value { return entries_of(value); }},
      {"dictsort", sorted_entries},
      {"replace",
       [](const Value& value, const Values& arguments) -> Value {
         const Value count = arguments.get(2, "count");
         return replaced(value.str(), arguments.get(0, "old").text(),
                         arguments.get(1, "new").text(), count.is_none() ? -1 : count.integer());
       }},
      {"unique", unique},
      {"sum", sum},
      {"min", extreme(false)},
      {"max", extreme(true)},
      {"sort", sorted},
      {"reverse",
       [](const Value& value, const Values&) -> Value {
         return slice(value, Value(), Value(), Value(int64_t{-1}));
       }},
      {"indent", indented}};
  return table;
}

Test of_kind(bool (Value::*holds)() const) {
  return [holds](const Value& value, const Values&) { return (value.*holds)(); };
}

const std::map<std::string, Test>& tests() {
  const Test is_equal = [](const Value& value, const Values& arguments) {
    return equal(value, arguments.get(0, ""));
  };
  const Test is_iterable = [](const Value& value, const Values&) {
    return !value.is_none() && !value.is_number();
  };
  static const std::map<std::string, Test> table = {
      {"defined", [](const Value& value, const Values&) { return !value.is_undefined(); }},
      {"undefined", of_kind(&Value::is_undefined)},
      {"none", of_kind(&Value::is_none)},
      {"string", of_kind(&Value::is_text)},
      {"mapping", of_kind(&Value::is_dict)},
      {"boolean", of_kind(&Value::is_bool)},
      {"number", of_kind(&Value::is_number)},
      {"integer", of_kind(&Value::is_integer)},
      {"float", of_kind(&Value::is_float)},
      {"iterable", is_iterable},
      {"sequence", is_iterable},
      {"true",
       [](const Value& value, const Values&) { return value.is_bool() && value.is_true(); }},
      {"false",
       [](const Value& value, const Values&) { return value.is_bool() && !value.is_true(); }},
      {"equalto", is_equal},
      {"eq", is_equal},
      {"==", is_equal},
      {"ne", [](const Value& value,
                const Values& arguments) { return !equal(value, arguments.get(0, "")); }},
      {"in", [](const Value& value,
                const Values& arguments) { return contains(arguments.get(0, ""), value); }},
      {"odd", [](const Value& value, const Values&) { return value.integer() % 2 != 0; }},
      {"even", [](const Value& value, const Values&) { return value.integer() % 2 == 0; }},
      {"divisibleby", [](const Value& value, const Values& arguments) {
         const int64_t divisor = arguments.get(0, "").integer();
         if (divisor == 0) fault("division by zero");
         return value.integer() % divisor == 0;
       }}};
  return table;
}

std::string date_text(const std::string& format, std::time_t time, bool in_utc) {
  std::tm parts{};
  if (in_utc)
    gmtime_r(&time, &parts);
  else
    localtime_r(&time, &parts);
  std::string text(256, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &parts));
  return text;
}

/// str.format with bare {} only.
Value formatted(const std::string& text, const Values& arguments) {
  std::string result;
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != '}') {
      result += text[i];
    } else if (text.compare(i, 2, "{}") == 0 && next < arguments.positional.size()) {
      result += arguments.positional[next++].str();
      ++i;
    } else {
      unknown("format with '" + text + "'");
    }
  }
  return result;
}

Value call_text_method(const std::string& text, const std::string& name, const Values& arguments) {
  const auto first = [&] { return arguments.get(0, ""); };
  const auto number = [&](size_t position, const std::string& called) {
    return arguments.get(position, called, Value(int64_t{-1})).integer();
  };
  if (name == "strip") return stripped(text, first(), Side::kBoth);
  if (name == "lstrip") return stripped(text, first(), Side::kLeft);
  if (name == "rstrip") return stripped(text, first(), Side::kRight);
  if (name == "split") return split(text, arguments.get(0, "sep"), number(1, "maxsplit"));
  if (name == "rsplit")
    return split_from_right(text, arguments.get(0, "sep").text(), number(1, "maxsplit"));
  if (name == "startswith") return has_affix(text, first(), true);
  if (name == "endswith") return has_affix(text, first(), false);
  if (name == "replace")
    return replaced(text, first().text(), arguments.get(1, "").text(), number(2, "count"));
  if (name == "removeprefix")
    return text.starts_with(first().text()) ? text.substr(first().text().size()) : text;
  if (name == "removesuffix")
    return text.ends_with(first().text()) ? text.substr(0, text.size() - first().text().size())
                                          : text;
  if (name == "join") {
    Values separator{.positional = {Value(text)}, .named = {}};
    return joined(first(), separator);
  }
  if (name == "format") return formatted(text, arguments);
  if (name == "upper") return upper(ascii(text));
  if (name == "lower") return lower(ascii(text));
  if (name == "capitalize") return capitalized(ascii(text));
  if (name == "title") return titled(ascii(text), "");
  if (name == "count") {
    const Value parts = split(text, first(), -1);
    return parts.length() - 1;
  }
  if (name == "find") {
    const size_t found = text.find(first().text());
    if (found == std::string::npos) return int64_t{-1};
    return static_cast<int64_t>(characters(std::string_view(text).substr(0, found)).size());
  }
  if (name == "isdigit") return !text.empty() && std::all_of(text.begin(), text.end(), ::isdigit);
  unknown(fmt::format("the method '{}' of a string", name));
}

Value call_dict_method(const Value& object, const std::string& name, const Values& arguments) {
  if (name == "items") return entries_of(object);
  if (name == "keys") return object.items();
  if (name == "values") {
    List result;
    for (const auto& entry : object.dict()) result.push_back(entry.second);
    return result;
  }
  if (name == "get") {
    const Value found = object.at(arguments.get(0, ""));
    return found.is_undefined() ? arguments.get(1, "") : found;
  }
  unknown(fmt::format("the method '{}' of a mapping", name));
}

}  // namespace

const Filter& filter_named(const std::string& name) {
  const auto found = filters().find(name);
  if (found == filters().end()) unknown(fmt::format("the filter '{}'", name));
  return found->second;
}

const Test& test_named(const std::string& name) {
  const auto found = tests().find(name);
  if (found == tests().end()) unknown(fmt::format("the test '{}'", name));
  return found->second;
}

bool is_function(const std::string& name) {
  return name == "raise_exception" || name == "range" || name == "namespace" || name == "dict" ||
         name == "strftime_now";
}

Value call_function(const std::string& name, const Values& arguments, const Scope& scope) {
  if (name == "raise_exception")
    throw Failure(Failure::Kind::kRefused, arguments.get(0, "message").str());
  if (name == "strftime_now")
    return date_text(arguments.get(0, "format").text(), scope.now().value_or(kFixedDay),
                     !scope.now());
  if (name == "namespace" || name == "dict") {
    if (!arguments.positional.empty()) unknown(name + "() of a value");
    return arguments.named;
  }
  if (name != "range") unknown(fmt::format("the function '{}'", name));
  const std::vector<Value>& bounds = arguments.positional;
  if (bounds.empty() || bounds.size() > 3) fault("range() needs one to three numbers");
  const int64_t begin = bounds.size() > 1 ? bounds[0].integer() : 0;
  const int64_t end = bounds[bounds.size() > 1 ? 1 : 0].integer();
  const int64_t step = bounds.size() > 2 ? bounds[2].integer() : 1;
  if (step == 0) fault("range() of step 0");
  List result;
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    if (static_cast<int64_t>(result.size()) >= kLongestRange) fault("range() is too long");
    result.emplace_back(i);
  }
  return result;
}

Value call_method(const Value& object, const std::string& name, const Values& arguments) {
  if (object.is_text()) return call_text_method(object.text(), name, arguments);
  if (object.is_dict()) return call_dict_method(object, name, arguments);
  if (object.is_undefined()) fault(object.kind());
  unknown(fmt::format("the method '{}' of {}", name, object.kind()));
}

}  // namespace lora_dist::jinja
