#include "data/templates/jinja/nodes.hpp"

#include <cmath>

#include <fmt/format.h>

namespace lora_dist::jinja {
namespace {

// More than any conversation needs; a template is a file from elsewhere.
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr int64_t kMostPasses = 1'000'000;
constexpr int kDeepestMacro = 100;

Values evaluated(const Arguments& arguments, Scope& scope) {
  Values values;
  for (const Argument& argument : arguments) {
    if (argument.name.empty())
      values.positional.push_back(argument.value->eval(scope));
    else
      values.named.emplace_back(argument.name, argument.value->eval(scope));
  }
  return values;
}

Value repeated(const std::string& text, int64_t times) {
  if (times > 0 && text.size() > kMostBytes / static_cast<size_t>(times)) fault("a text too long");
  std::string result;
  for (int64_t i = 0; i < times; ++i) result += text;
  return result;
}

Value sum_of(const Value& left, const Value& right) {
  if (left.is_text() && right.is_text()) return left.text() + right.text();
  if (left.is_list() && right.is_list()) {
    List both = left.list();
    both.insert(both.end(), right.list().begin(), right.list().end());
    return both;
  }
  if (!left.is_number() || !right.is_number())
    fault(fmt::format("{} + {}", left.kind(), right.kind()));
  if (left.is_float() || right.is_float()) return left.number() + right.number();
  return left.integer() + right.integer();
}

/// Division that rounds down, as Python's.
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

Value arithmetic(const std::string& operation, const Value& left, const Value& right) {
  if (operation == "+") return sum_of(left, right);
  if (operation == "*" && left.is_text()) return repeated(left.text(), right.integer());
  if (operation == "%" && left.is_text()) unknown("% on a string");
  if (!left.is_number() || !right.is_number())
    fault(fmt::format("{} {} {}", left.kind(), operation, right.kind()));
  const double a = left.number(), b = right.number();
  const bool divides = operation == "/" || operation == "//" || operation == "%";
  if (divides && b == 0) fault("division by zero");
  if (operation == "/") return a / b;
  if (left.is_float() || right.is_float()) {
    if (operation == "-") return a - b;
    if (operation == "*") return a * b;
    if (operation == "//") return std::floor(a / b);
    return a - b * std::floor(a / b);
  }
  const int64_t i = left.integer(), j = right.integer();
  if (operation == "-") return i - j;
  if (operation == "*") return i * j;
  return operation == "//" ? floor_div(i, j) : i - j * floor_div(i, j);
}

bool holds(const std::string& operation, const Value& left, const Value& right) {
  if (operation == "==") return equal(left, right);
  if (operation == "!=") return !equal(left, right);
  if (operation == "in") return contains(right, left);
  if (operation == "not in") return !contains(right, left);
  if (operation == "<") return less(left, right);
  if (operation == ">") return less(right, left);
  if (operation == "<=") return !less(right, left);
  return !less(left, right);
}

/// `loop` inside a for.
Value loop_value(const List& entries, size_t i) {
  const auto number = [](size_t n) { return Value(static_cast<int64_t>(n)); };
  const Value none = Value::Undefined{"loop"};
  return Dict{{"index", number(i + 1)},
              {"index0", number(i)},
              {"first", i == 0},
              {"last", i + 1 == entries.size()},
              {"length", number(entries.size())},
              {"revindex", number(entries.size() - i)},
              {"revindex0", number(entries.size() - i - 1)},
              {"previtem", i == 0 ? none : entries[i - 1]},
              {"nextitem", i + 1 == entries.size() ? none : entries[i + 1]}};
}

void assign(const std::vector<std::string>& targets, const Value& value, Scope& scope) {
  if (targets.size() == 1) {
    scope.set(targets[0], value);
    return;
  }
  const List& values = value.list();
  if (values.size() != targets.size())
    fault(fmt::format("{} names for {} values", targets.size(), values.size()));
  for (size_t i = 0; i < targets.size(); ++i) scope.set(targets[i], values[i]);
}

}  // namespace

Scope::Scope(Dict variables, std::optional<std::time_t> now) : frames_(1), now_(now) {
  for (auto& [name, value] : variables) frames_[0].emplace(name, std::move(value));
}

Value Scope::find(const std::string& name) const {
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    const auto found = frame->find(name);
    if (found != frame->end()) return found->second;
  }
  return Value::Undefined{name};
}

void Scope::set(const std::string& name, Value value) { frames_.back()[name] = std::move(value); }

void Scope::in_macro(const std::function<void()>& body) {
  if (++depth_ > kDeepestMacro) fault("macros call each other without end");
  std::vector<std::map<std::string, Value>> outer(frames_.begin() + 1, frames_.end());
  frames_.resize(1);
  frames_.emplace_back();
  body();
  frames_.resize(1);
  frames_.insert(frames_.end(), outer.begin(), outer.end());
  --depth_;
}

const Macro* Scope::macro(const std::string& name) const {
  const auto found = macros_.find(name);
  return found == macros_.end() ? nullptr : found->second;
}

void Scope::write(const std::string& text) {
  if (text.size() > kMostBytes - text_.size()) fault("a text too long");
  text_ += text;
}

std::string Scope::captured(const std::function<void()>& body) {
  std::string outer;
  std::swap(outer, text_);
  body();
  std::swap(outer, text_);
  return outer;
}

void Scope::count_pass() {
  if (++num_passes_ > kMostPasses) fault("loops without end");
}

Value Values::get(size_t position, const std::string& name, Value absent) const {
  if (position < positional.size()) return positional[position];
  for (const auto& [key, value] : named)
    if (key == name) return value;
  return absent;
}

Flow run(const Block& block, Scope& scope) {
  for (const StatementPtr& statement : block)
    if (const Flow flow = statement->run(scope); flow != Flow::kNormal) return flow;
  return Flow::kNormal;
}

std::string Macro::call(const Values& arguments, Scope& scope) const {
  return scope.captured([&] {
    scope.in_macro([&] {
      for (size_t i = 0; i < parameters_.size(); ++i) {
        const Parameter& parameter = parameters_[i];
        Value value = arguments.get(i, parameter.name, Value::Undefined{parameter.name});
        if (value.is_undefined() && parameter.fallback) value = parameter.fallback->eval(scope);
        scope.set(parameter.name, std::move(value));
      }
      run(body_, scope);
    });
  });
}

Value Name::eval(Scope& scope) const {
  Value found = scope.find(name);
  if (!found.is_undefined()) return found;
  // Without a clock a template takes the date that it holds for that.
  const bool is_there = scope.macro(name) != nullptr ||
                        (is_function(name) && (name != "strftime_now" || scope.now()));
  return is_there ? Value("<function " + name + ">") : found;
}

Value ListLiteral::eval(Scope& scope) const {
  List list;
  for (const ExpressionPtr& entry : entries) list.push_back(entry->eval(scope));
  return list;
}

Value DictLiteral::eval(Scope& scope) const {
  const Value dict = Dict{};
  for (const auto& [key, value] : entries) dict.put(key->eval(scope).text(), value->eval(scope));
  return dict;
}

Value Unary::eval(Scope& scope) const {
  const Value value = operand->eval(scope);
  if (operation == "not") return !value.is_true();
  if (operation == "+") return value;
  if (value.is_float()) return -value.number();
  return -value.integer();
}

Value Binary::eval(Scope& scope) const {
  const Value a = left->eval(scope);
  if (operation == "and") return a.is_true() ? right->eval(scope) : a;
  if (operation == "or") return a.is_true() ? a : right->eval(scope);
  const Value b = right->eval(scope);
  if (operation == "~") return a.str() + b.str();
  return arithmetic(operation, a, b);
}

Value Comparison::eval(Scope& scope) const {
  Value left = first->eval(scope);
  for (const auto& [operation, other] : others) {
    Value right = other->eval(scope);
    if (!holds(operation, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Conditional::eval(Scope& scope) const {
  if (condition->eval(scope).is_true()) return yes->eval(scope);
  return no ? no->eval(scope) : Value(Value::Undefined{"else"});
}

Value Slice::eval(Scope& scope) const {
  const auto bound = [&](const ExpressionPtr& at) { return at ? at->eval(scope) : Value(); };
  return slice(object->eval(scope), bound(begin), bound(end), bound(step));
}

Value Call::eval(Scope& scope) const {
  if (const auto* name = dynamic_cast<const Name*>(callee.get())) {
    if (const Macro* macro = scope.macro(name->name))
      return macro->call(evaluated(arguments, scope), scope);
    if (!is_function(name->name)) fault(fmt::format("'{}' is not a function", name->name));
    return call_function(name->name, evaluated(arguments, scope), scope);
  }
  const auto* member = dynamic_cast<const Member*>(callee.get());
  if (member == nullptr) unknown("a call of this form");
  return call_method(member->object->eval(scope), member->name, evaluated(arguments, scope));
}

Value Filtered::eval(Scope& scope) const {
  return filter_named(name)(value->eval(scope), evaluated(arguments, scope));
}

Value Tested::eval(Scope& scope) const {
  return test_named(name)(value->eval(scope), evaluated(arguments, scope));
}

Flow Text::run(Scope& scope) const {
  scope.write(text);
  return Flow::kNormal;
}

Flow Output::run(Scope& scope) const {
  scope.write(value->eval(scope).str());
  return Flow::kNormal;
}

Flow If::run(Scope& scope) const {
  for (const auto& [condition, body] : branches)
    if (!condition || condition->eval(scope).is_true()) return jinja::run(body, scope);
  return Flow::kNormal;
}

void For::bind(const Value& entry, Scope& scope) const {
  scope.count_pass();
  scope.push();
  assign(targets, entry, scope);
}

Flow For::run(Scope& scope) const {
  List entries;
  for (const Value& entry : sequence->eval(scope).items()) {
    if (condition) {
      bind(entry, scope);
      const bool kept = condition->eval(scope).is_true();
      scope.pop();
      if (!kept) continue;
    }
    entries.push_back(entry);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    bind(entries[i], scope);
    scope.set("loop", loop_value(entries, i));
    const Flow flow = jinja::run(body, scope);
    scope.pop();
    if (flow == Flow::kBreak) break;
  }
  return entries.empty() ? jinja::run(otherwise, scope) : Flow::kNormal;
}

Flow Set::run(Scope& scope) const {
  const Value result = value->eval(scope);
  if (member.empty())
    assign(targets, result, scope);
  else
    scope.find(targets[0]).put(member, result);
  return Flow::kNormal;
}

Flow SetBlock::run(Scope& scope) const {
  scope.set(target, scope.captured([&] { jinja::run(body, scope); }));
  return Flow::kNormal;
}

Value Written::eval(Scope& scope) const {
  scope.push();
  std::string text = scope.captured([&] { jinja::run(body, scope); });
  scope.pop();
  return text;
}

Flow DefineMacro::run(Scope& scope) const {
  scope.define(macro.name(), &macro);
  return Flow::kNormal;
}

}  // namespace lora_dist::jinja
