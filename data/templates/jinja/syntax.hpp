// A template as a tree that evaluates itself.
#pragma once

#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/templates/jinja/value.hpp"

namespace lora_dist::jinja {

class Macro;

/// What a rendering knows and has written so far.
class Scope {
 public:
  Scope(Dict variables, std::optional<std::time_t> now);

  /// An Undefined where no frame has it.
  Value find(const std::string& name) const;
  void set(const std::string& name, Value value);  // in the innermost frame
  void push() { frames_.emplace_back(); }
  void pop() { frames_.pop_back(); }

  /// Runs `body` with the outermost frame and a new one, as a macro sees the world.
  void in_macro(const std::function<void()>& body);
  void define(const std::string& name, const Macro* macro) { macros_[name] = macro; }
  const Macro* macro(const std::string& name) const;

  /// Appends to the text. Errors  Failure: more than any conversation needs.
  void write(const std::string& text);
  /// The text that `body` writes, apart from the rest.
  std::string captured(const std::function<void()>& body);
  std::string take_text() { return std::move(text_); }
  /// Counts a pass of a loop. Errors  Failure: too many.
  void count_pass();

  const std::optional<std::time_t>& now() const { return now_; }

 private:
  std::vector<std::map<std::string, Value>> frames_;
  std::map<std::string, const Macro*> macros_;
  std::string text_;
  std::optional<std::time_t> now_;
  int64_t num_passes_ = 0;
  int depth_ = 0;
};

class Expression {
 public:
  virtual ~Expression() = default;
  virtual Value eval(Scope& scope) const = 0;
};
using ExpressionPtr = std::unique_ptr<Expression>;

/// How the statements that follow go on.
enum class Flow { kNormal, kBreak, kContinue };

class Statement {
 public:
  virtual ~Statement() = default;
  virtual Flow run(Scope& scope) const = 0;
};
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;
Flow run(const Block& block, Scope& scope);

/// Arguments of a call as written: names are empty for positional ones.
struct Argument {
  std::string name;
  ExpressionPtr value;
};
using Arguments = std::vector<Argument>;

/// Arguments of a call, evaluated.
struct Values {
  std::vector<Value> positional;
  Dict named;
  /// The argument at `position` or called `name`; `absent` where it is neither.
  Value get(size_t position, const std::string& name, Value absent = Value()) const;
};

class Macro {
 public:
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // may be null
  };
  Macro(std::string name, std::vector<Parameter> parameters, Block body)
      : name_(std::move(name)), parameters_(std::move(parameters)), body_(std::move(body)) {}
  std::string call(const Values& arguments, Scope& scope) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::vector<Parameter> parameters_;
  Block body_;
};

/// Reads a whole template. Errors  Failure, with the line.
Block parse(const std::string& source);

}  // namespace lora_dist::jinja
