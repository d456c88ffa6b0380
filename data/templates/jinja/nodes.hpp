// The expressions and statements of the tree.
#pragma once

#include <string>
#include <vector>

#include "data/templates/jinja/builtins.hpp"
#include "data/templates/jinja/syntax.hpp"

namespace lora_dist::jinja {

struct Literal final : Expression {
  explicit Literal(Value literal) : value(std::move(literal)) {}
  Value eval(Scope&) const override { return value; }
  Value value;
};

struct Name final : Expression {
  explicit Name(std::string text) : name(std::move(text)) {}
  Value eval(Scope& scope) const override;
  std::string name;
};

struct ListLiteral final : Expression {
  Value eval(Scope& scope) const override;
  std::vector<ExpressionPtr> entries;
};

struct DictLiteral final : Expression {
  Value eval(Scope& scope) const override;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};

/// not, -, +
struct Unary final : Expression {
  Unary(std::string op, ExpressionPtr of) : operation(std::move(op)), operand(std::move(of)) {}
  Value eval(Scope& scope) const override;
  std::string operation;
  ExpressionPtr operand;
};

/// Arithmetic, ~, and, or
struct Binary final : Expression {
  Binary(std::string op, ExpressionPtr a, ExpressionPtr b)
      : operation(std::move(op)), left(std::move(a)), right(std::move(b)) {}
  Value eval(Scope& scope) const override;
  std::string operation;
  ExpressionPtr left, right;
};

/// a < b <= c: true where each neighbouring pair holds.
struct Comparison final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr first;
  std::vector<std::pair<std::string, ExpressionPtr>> others;
};

struct Conditional final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr condition, yes, no;  // `no` may be null
};

struct Member final : Expression {
  Member(ExpressionPtr of, std::string key) : object(std::move(of)), name(std::move(key)) {}
  Value eval(Scope& scope) const override { return object->eval(scope).member(name); }
  ExpressionPtr object;
  std::string name;
};

struct Subscript final : Expression {
  Subscript(ExpressionPtr of, ExpressionPtr at) : object(std::move(of)), index(std::move(at)) {}
  Value eval(Scope& scope) const override { return object->eval(scope).at(index->eval(scope)); }
  ExpressionPtr object, index;
};

struct Slice final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr object, begin, end, step;  // bounds may be null
};

struct Call final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr callee;
  Arguments arguments;
};

struct Filtered final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr value;
  std::string name;  // looked up when it is reached, as Jinja does
  Arguments arguments;
};

struct Tested final : Expression {
  Value eval(Scope& scope) const override;
  ExpressionPtr value;
  std::string name;
  Arguments arguments;
};

struct Text final : Statement {
  explicit Text(std::string written) : text(std::move(written)) {}
  Flow run(Scope& scope) const override;
  std::string text;
};

struct Output final : Statement {
  explicit Output(ExpressionPtr written) : value(std::move(written)) {}
  Flow run(Scope& scope) const override;
  ExpressionPtr value;
};

struct If final : Statement {
  Flow run(Scope& scope) const override;
  std::vector<std::pair<ExpressionPtr, Block>> branches;  // a null condition is `else`
};

struct For final : Statement {
  Flow run(Scope& scope) const override;
  std::vector<std::string> targets;
  ExpressionPtr sequence, condition;  // the condition may be null
  Block body, otherwise;

 private:
  void bind(const Value& entry, Scope& scope) const;
};

struct Set final : Statement {
  Flow run(Scope& scope) const override;
  std::vector<std::string> targets;
  std::string member;  // of a namespace, which is then the only target
  ExpressionPtr value;
};

/// {% set x %}...{% endset %}
struct SetBlock final : Statement {
  Flow run(Scope& scope) const override;
  std::string target;
  Block body;
};

/// What a block writes, as a value: of {% filter %} and of a filtered {% set %}.
struct Written final : Expression {
  Value eval(Scope& scope) const override;
  Block body;
};

struct DefineMacro final : Statement {
  explicit DefineMacro(Macro defined) : macro(std::move(defined)) {}
  Flow run(Scope& scope) const override;
  Macro macro;
};

/// {% generation %}: its body is written as it is.
struct Group final : Statement {
  Flow run(Scope& scope) const override { return jinja::run(body, scope); }
  Block body;
};

struct Jump final : Statement {
  explicit Jump(Flow to) : flow(to) {}
  Flow run(Scope&) const override { return flow; }
  Flow flow;
};

}  // namespace lora_dist::jinja
