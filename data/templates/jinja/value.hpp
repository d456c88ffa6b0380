// The values of a chat template, with Python's meaning: lists and mappings are shared, an index
// counts characters, True is 1.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lora_dist::jinja {

/// Why a template gave no text.
class Failure : public std::runtime_error {
 public:
  enum class Kind {
    kUnknown,  // a part of the language that is not known here
    kRefused,  // the template's own raise_exception
    kFault     // Jinja would fail as well
  };
  Failure(Kind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};
[[noreturn]] void unknown(const std::string& text);
[[noreturn]] void fault(const std::string& text);

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion

class Value {
 public:
  struct Undefined {
    std::string name;
  };
  struct None {};

  Value() : content_(None{}) {}
  Value(Undefined undefined) : content_(std::move(undefined)) {}
  Value(bool value) : content_(value) {}
  Value(int64_t value) : content_(value) {}
  Value(double value) : content_(value) {}
  Value(std::string text) : content_(std::move(text)) {}
  Value(const char* text) : content_(std::string(text)) {}
  Value(List list) : content_(std::make_shared<List>(std::move(list))) {}
  Value(Dict dict) : content_(std::make_shared<Dict>(std::move(dict))) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(content_); }
  bool is_none() const { return std::holds_alternative<None>(content_); }
  bool is_bool() const { return std::holds_alternative<bool>(content_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(content_); }
  bool is_float() const { return std::holds_alternative<double>(content_); }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }
  bool is_text() const { return std::holds_alternative<std::string>(content_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<List>>(content_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<Dict>>(content_); }

  /// Each of these asks for a value of its type. Errors  Failure.
  const std::string& text() const;
  const List& list() const;
  const Dict& dict() const;
  int64_t integer() const;  // a bool counts as 0 or 1
  double number() const;

  /// Python's bool(), str() and repr().
  bool is_true() const;
  std::string str() const;
  std::string repr() const;
  /// "a string", for messages.
  std::string kind() const;

  /// The attribute or key; an Undefined where there is none. Errors  Failure: of an Undefined.
  Value member(const std::string& key) const;
  /// value[index] for a text, a list or a mapping. Errors  Failure: of an Undefined.
  Value at(const Value& index) const;
  /// What a `for` goes through: entries, keys or characters. Errors  Failure.
  List items() const;
  /// Python's len(). Errors  Failure.
  int64_t length() const;
  /// Puts `value` into a mapping that others may share. Errors  Failure.
  void put(const std::string& key, Value value) const;

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<List>,
               std::shared_ptr<Dict>>
      content_;
};

bool equal(const Value& a, const Value& b);
/// Errors  Failure: two values that have no order.
bool less(const Value& a, const Value& b);
/// Whether `member` is in `whole`. Errors  Failure.
bool contains(const Value& whole, const Value& member);
/// value[begin:end:step], each bound none or an integer. Errors  Failure.
Value slice(const Value& value, const Value& begin, const Value& end, const Value& step);
/// As Python's json.dumps(ensure_ascii=False); `indent` below 0: on one line.
std::string to_json(const Value& value, int64_t indent);

/// The characters of valid UTF-8, one text each.
std::vector<std::string> characters(std::string_view text);

}  // namespace lora_dist::jinja
