// From tokens to the tree: statements by their first word, expressions by recursive descent in
// Jinja's order of precedence.
#include <algorithm>
#include <charconv>
#include <initializer_list>

#include <fmt/format.h>

#include "data/templates/jinja/lexer.hpp"
#include "data/templates/jinja/nodes.hpp"

namespace lora_dist::jinja {
namespace {

constexpr int kDeepest = 200;  // nested statements and brackets

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Block run() {
    Block block = read_block({});
    if (now().kind != Token::Kind::kEnd) stop("a statement that closes nothing");
    return block;
  }

 private:
  using Kind = Token::Kind;

  // Tokens

  const Token& now() const { return tokens_[pos_]; }
  const Token& ahead(size_t by) const { return tokens_[std::min(pos_ + by, tokens_.size() - 1)]; }
  static bool is(const Token& token, Kind kind, std::string_view text) {
    return token.kind == kind && token.text == text;
  }
  bool at_operator(std::string_view text) const { return is(now(), Kind::kOperator, text); }
  bool at_word(std::string_view text) const { return is(now(), Kind::kName, text); }
  bool take_operator(std::string_view text) { return at_operator(text) && ++pos_; }
  bool take_word(std::string_view text) { return at_word(text) && ++pos_; }
  [[noreturn]] void stop(const std::string& what) const {
    fault(fmt::format("line {}: {}", now().line, what));
  }
  [[noreturn]] void stop_unknown(const std::string& what) const {
    unknown(fmt::format("line {}: {}", now().line, what));
  }
  void expect_operator(std::string_view text) {
    if (!take_operator(text)) stop(fmt::format("'{}' instead of '{}'", now().text, text));
  }
  std::string expect_name() {
    if (now().kind != Kind::kName) stop(fmt::format("'{}' instead of a name", now().text));
    return tokens_[pos_++].text;
  }
  void end_tag() {
    if (now().kind != Kind::kTagEnd) stop(fmt::format("'{}' inside a tag", now().text));
    ++pos_;
  }
  /// Counts nesting, so that a hostile file ends in a message and not in a full stack.
  struct Nesting {
    explicit Nesting(Parser& of) : parser(of) {
      if (++parser.depth_ > kDeepest) parser.stop("nested too deep");
    }
    ~Nesting() { --parser.depth_; }
    Parser& parser;
  };

  // Statements

  /// Up to a statement that begins with one of `closers`, whose tag is left to be read.
  Block read_block(std::initializer_list<std::string_view> closers) {
    const Nesting nesting(*this);
    Block block;
    while (now().kind != Kind::kEnd) {
      if (now().kind == Kind::kText) {
        block.push_back(std::make_unique<Text>(tokens_[pos_++].text));
      } else if (now().kind == Kind::kOutputBegin) {
        ++pos_;
        block.push_back(std::make_unique<Output>(read_tuple()));
        end_tag();
      } else {
        const std::string& word = ahead(1).text;
        if (std::find(closers.begin(), closers.end(), word) != closers.end()) return block;
        if (word.starts_with("end") || word == "else" || word == "elif") return block;
        ++pos_;
        block.push_back(read_statement());
      }
    }
    return block;
  }

  void expect_end(std::string_view word) {
    if (now().kind != Kind::kStatementBegin || ahead(1).text != word)
      stop(fmt::format("no {}", word));
    pos_ += 2;
    end_tag();
  }

  StatementPtr read_statement() {
    const std::string word = expect_name();
    if (word == "if") return read_if();
    if (word == "for") return read_for();
    if (word == "set") return read_set();
    if (word == "macro") return read_macro();
    if (word == "break" || word == "continue") {
      end_tag();
      return std::make_unique<Jump>(word == "break" ? Flow::kBreak : Flow::kContinue);
    }
    if (word == "generation") {
      end_tag();
      auto group = std::make_unique<Group>();
      group->body = read_block({"endgeneration"});
      expect_end("endgeneration");
      return group;
    }
    if (word == "filter") return read_filter();
    stop_unknown(fmt::format("the statement '{}'", word));
  }

  StatementPtr read_if() {
    auto result = std::make_unique<If>();
    ExpressionPtr condition = read_tuple();
    end_tag();
    while (true) {
      Block body = read_block({"elif", "else", "endif"});
      result->branches.emplace_back(std::move(condition), std::move(body));
      if (ahead(1).text == "elif" && now().kind == Kind::kStatementBegin) {
        pos_ += 2;
        condition = read_tuple();
        end_tag();
      } else if (ahead(1).text == "else" && now().kind == Kind::kStatementBegin) {
        pos_ += 2;
        end_tag();
        Block otherwise = read_block({"endif"});
        result->branches.emplace_back(nullptr, std::move(otherwise));
        break;
      } else {
        break;
      }
    }
    expect_end("endif");
    return result;
  }

  StatementPtr read_for() {
    auto result = std::make_unique<For>();
    result->targets = read_targets();
    if (!take_word("in")) stop("a for without 'in'");
    result->sequence = read_or_tuple();
    if (take_word("if")) result->condition = read_expression();
    if (at_word("recursive")) stop_unknown("a recursive for");
    end_tag();
    result->body = read_block({"else", "endfor"});
    if (now().kind == Kind::kStatementBegin && ahead(1).text == "else") {
      pos_ += 2;
      end_tag();
      result->otherwise = read_block({"endfor"});
    }
    expect_end("endfor");
    return result;
  }

  std::vector<std::string> read_targets() {
    std::vector<std::string> targets;
    const bool in_brackets = take_operator("(");
    do {
      targets.push_back(expect_name());
    } while (take_operator(","));
    if (in_brackets) expect_operator(")");
    return targets;
  }

  StatementPtr read_set() {
    auto result = std::make_unique<Set>();
    result->targets = read_targets();
    if (result->targets.size() == 1 && take_operator(".")) result->member = expect_name();
    if (now().kind == Kind::kTagEnd && result->targets.size() == 1 && result->member.empty()) {
      ++pos_;
      auto block = std::make_unique<SetBlock>();
      block->target = result->targets[0];
      block->body = read_block({"endset"});
      expect_end("endset");
      return block;
    }
    if (at_operator("|") && result->targets.size() == 1 && result->member.empty()) {
      auto written = std::make_unique<Written>();
      Block& body = written->body;
      result->value = read_filters(std::move(written));
      end_tag();
      body = read_block({"endset"});
      expect_end("endset");
      return result;
    }
    expect_operator("=");
    result->value = read_tuple();
    end_tag();
    return result;
  }

  StatementPtr read_filter() {
    auto written = std::make_unique<Written>();
    Block& body = written->body;
    ExpressionPtr filtered = read_filters(read_filter_of(std::move(written)));
    end_tag();
    body = read_block({"endfilter"});
    expect_end("endfilter");
    return std::make_unique<Output>(std::move(filtered));
  }

  StatementPtr read_macro() {
    const std::string name = expect_name();
    std::vector<Macro::Parameter> parameters;
    expect_operator("(");
    while (!take_operator(")")) {
      Macro::Parameter parameter{.name = expect_name(), .fallback = nullptr};
      if (take_operator("=")) parameter.fallback = read_expression();
      parameters.push_back(std::move(parameter));
      if (!at_operator(")")) expect_operator(",");
    }
    end_tag();
    Block body = read_block({"endmacro"});
    // The name may be repeated: {% endmacro name %}.
    if (is(ahead(2), Kind::kName, name)) tokens_.erase(tokens_.begin() + pos_ + 2);
    expect_end("endmacro");
    return std::make_unique<DefineMacro>(Macro(name, std::move(parameters), std::move(body)));
  }

  // Expressions

  /// An expression, or several with commas between them.
  ExpressionPtr read_tuple() { return read_list_of(&Parser::read_expression); }
  /// As read_tuple, for the sequence of a for: an `if` behind it is the for's.
  ExpressionPtr read_or_tuple() { return read_list_of(&Parser::read_or); }

  ExpressionPtr read_list_of(ExpressionPtr (Parser::*read_entry)()) {
    ExpressionPtr first = (this->*read_entry)();
    if (!at_operator(",")) return first;
    auto list = std::make_unique<ListLiteral>();
    list->entries.push_back(std::move(first));
    while (take_operator(",")) {
      if (now().kind == Kind::kTagEnd || at_operator(")")) break;
      list->entries.push_back((this->*read_entry)());
    }
    return list;
  }

  ExpressionPtr read_expression() {
    const Nesting nesting(*this);
    ExpressionPtr value = read_or();
    while (take_word("if")) {
      auto conditional = std::make_unique<Conditional>();
      conditional->yes = std::move(value);
      conditional->condition = read_or();
      if (take_word("else")) conditional->no = read_expression();
      value = std::move(conditional);
    }
    return value;
  }

  ExpressionPtr read_or() {
    ExpressionPtr left = read_and();
    while (take_word("or")) left = std::make_unique<Binary>("or", std::move(left), read_and());
    return left;
  }

  ExpressionPtr read_and() {
    ExpressionPtr left = read_not();
    while (take_word("and")) left = std::make_unique<Binary>("and", std::move(left), read_not());
    return left;
  }

  ExpressionPtr read_not() {
    const Nesting nesting(*this);
    if (take_word("not")) return std::make_unique<Unary>("not", read_not());
    return read_comparison();
  }

  ExpressionPtr read_comparison() {
    ExpressionPtr first = read_sum();
    std::vector<std::pair<std::string, ExpressionPtr>> others;
    while (true) {
      std::string operation;
      for (const std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">"})
        if (operation.empty() && take_operator(candidate)) operation = candidate;
      if (operation.empty() && take_word("in")) operation = "in";
      if (operation.empty() && at_word("not") && is(ahead(1), Kind::kName, "in")) {
        pos_ += 2;
        operation = "not in";
      }
      if (operation.empty()) break;
      others.emplace_back(operation, read_sum());
    }
    if (others.empty()) return first;
    auto comparison = std::make_unique<Comparison>();
    comparison->first = std::move(first);
    comparison->others = std::move(others);
    return comparison;
  }

  ExpressionPtr read_sum() {
    ExpressionPtr left = read_concatenation();
    while (at_operator("+") || at_operator("-")) {
      const std::string operation = tokens_[pos_++].text;
      left = std::make_unique<Binary>(operation, std::move(left), read_concatenation());
    }
    return left;
  }

  ExpressionPtr read_concatenation() {
    ExpressionPtr left = read_product();
    while (take_operator("~"))
      left = std::make_unique<Binary>("~", std::move(left), read_product());
    return left;
  }

  ExpressionPtr read_product() {
    ExpressionPtr left = read_unary(/*with_filters=*/true);
    while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
      const std::string operation = tokens_[pos_++].text;
      left = std::make_unique<Binary>(operation, std::move(left), read_unary(true));
    }
    if (at_operator("**")) stop_unknown("the operator **");
    return left;
  }

  ExpressionPtr read_unary(bool with_filters) {
    const Nesting nesting(*this);
    ExpressionPtr value;
    if (at_operator("-") || at_operator("+")) {
      const std::string operation = tokens_[pos_++].text;
      value = std::make_unique<Unary>(operation, read_unary(/*with_filters=*/false));
    } else {
      value = read_primary();
    }
    value = read_postfix(std::move(value));
    return with_filters ? read_filters(std::move(value)) : std::move(value);
  }

  ExpressionPtr read_primary() {
    const Token token = now();
    ++pos_;
    switch (token.kind) {
      case Kind::kName:
        if (token.text == "true" || token.text == "True") return literal(true);
        if (token.text == "false" || token.text == "False") return literal(false);
        if (token.text == "none" || token.text == "None") return literal(Value());
        return std::make_unique<Name>(token.text);
      case Kind::kString: {
        std::string text = token.text;  // neighbours are one string
        while (now().kind == Kind::kString) text += tokens_[pos_++].text;
        return literal(text);
      }
      case Kind::kInteger: {
        int64_t number = 0;
        const char* end = token.text.data() + token.text.size();
        if (std::from_chars(token.text.data(), end, number).ptr != end)
          stop_unknown("an integer of this size");
        return literal(number);
      }
      case Kind::kFloat:
        return literal(std::stod(token.text));
      case Kind::kOperator:
        break;
      default:
        --pos_;
        stop("an expression that ends too early");
    }
    if (token.text == "(") {
      if (take_operator(")")) return std::make_unique<ListLiteral>();
      ExpressionPtr inner = read_tuple();
      expect_operator(")");
      return inner;
    }
    if (token.text == "[") return read_list();
    if (token.text == "{") return read_dict();
    stop(fmt::format("'{}' where a value should be", token.text));
  }

  static ExpressionPtr literal(Value value) { return std::make_unique<Literal>(std::move(value)); }

  ExpressionPtr read_list() {
    auto list = std::make_unique<ListLiteral>();
    while (!take_operator("]")) {
      list->entries.push_back(read_expression());
      if (!at_operator("]")) expect_operator(",");
    }
    return list;
  }

  ExpressionPtr read_dict() {
    auto dict = std::make_unique<DictLiteral>();
    while (!take_operator("}")) {
      ExpressionPtr key = read_expression();
      expect_operator(":");
      dict->entries.emplace_back(std::move(key), read_expression());
      if (!at_operator("}")) expect_operator(",");
    }
    return dict;
  }

  ExpressionPtr read_postfix(ExpressionPtr value) {
    while (true) {
      if (take_operator(".")) {
        if (now().kind == Kind::kInteger)
          value = std::make_unique<Subscript>(std::move(value), read_primary());
        else
          value = std::make_unique<Member>(std::move(value), expect_name());
      } else if (take_operator("[")) {
        value = read_subscript(std::move(value));
      } else if (at_operator("(")) {
        auto call = std::make_unique<Call>();
        call->callee = std::move(value);
        call->arguments = read_arguments();
        value = std::move(call);
      } else {
        return value;
      }
    }
  }

  ExpressionPtr read_subscript(ExpressionPtr object) {
    ExpressionPtr begin;
    if (!at_operator(":")) begin = read_expression();
    if (take_operator("]")) return std::make_unique<Subscript>(std::move(object), std::move(begin));
    auto slice = std::make_unique<Slice>();
    slice->object = std::move(object);
    slice->begin = std::move(begin);
    expect_operator(":");
    if (!at_operator(":") && !at_operator("]")) slice->end = read_expression();
    if (take_operator(":") && !at_operator("]")) slice->step = read_expression();
    expect_operator("]");
    return slice;
  }

  Arguments read_arguments() {
    Arguments arguments;
    expect_operator("(");
    while (!take_operator(")")) {
      if (at_operator("*") || at_operator("**")) stop_unknown("a call with * or **");
      Argument argument;
      if (now().kind == Kind::kName && is(ahead(1), Kind::kOperator, "=")) {
        argument.name = expect_name();
        expect_operator("=");
      }
      argument.value = read_expression();
      arguments.push_back(std::move(argument));
      if (!at_operator(")")) expect_operator(",");
    }
    return arguments;
  }

  ExpressionPtr read_filter_of(ExpressionPtr value) {
    auto filtered = std::make_unique<Filtered>();
    filtered->value = std::move(value);
    filtered->name = expect_name();
    if (at_operator("(")) filtered->arguments = read_arguments();
    return filtered;
  }

  ExpressionPtr read_filters(ExpressionPtr value) {
    while (true) {
      if (take_operator("|")) {
        value = read_filter_of(std::move(value));
      } else if (take_word("is")) {
        value = read_test(std::move(value));
      } else if (at_operator("(")) {
        value = read_postfix(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExpressionPtr read_test(ExpressionPtr value) {
    const bool negated = take_word("not");
    auto tested = std::make_unique<Tested>();
    tested->value = std::move(value);
    tested->name = expect_name();
    const Kind kind = now().kind;
    const bool is_word = kind == Kind::kName && !at_word("else") && !at_word("or") &&
                         !at_word("and") && !at_word("is") && !at_word("if") && !at_word("in") &&
                         !at_word("not");
    if (at_operator("(")) {
      tested->arguments = read_arguments();
    } else if (is_word || kind == Kind::kString || kind == Kind::kInteger || kind == Kind::kFloat ||
               at_operator("[") || at_operator("{")) {
      Argument argument;
      argument.value = read_postfix(read_primary());
      tested->arguments.push_back(std::move(argument));
    }
    if (!negated) return tested;
    return std::make_unique<Unary>("not", std::move(tested));
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0;
};

}  // namespace

Block parse(const std::string& source) { return Parser(read_tokens(source)).run(); }

}  // namespace lora_dist::jinja
