#include "data/templates/jinja/lexer.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include "data/templates/jinja/value.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist::jinja {
namespace {

constexpr std::array<std::string_view, 27> kOperators = {
    "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "[", "]",
    "(",  ")",  "{",  "}",  "<",  ">",  "=", ".", ":", "|", ",", "!", ";"};

bool is_name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(const std::string& source) {
    for (size_t i = 0; i < source.size(); ++i) {  // every kind of line end becomes \n
      if (source[i] == '\r') {
        if (i + 1 < source.size() && source[i + 1] == '\n') continue;
        source_ += '\n';
      } else {
        source_ += source[i];
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (pos_ < source_.size()) {
      read_text();
      if (pos_ >= source_.size()) break;
      if (const size_t end = named_tag(pos_, "raw"); end > 0) {
        read_raw(end);
        continue;
      }
      const char opener = source_[pos_ + 1];
      pos_ += 2;
      if (pos_ < source_.size() && (source_[pos_] == '-' || source_[pos_] == '+')) ++pos_;
      if (opener == '#')
        pass_comment();
      else
        read_tag(opener == '%');
    }
    add(Token::Kind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  /// Up to the next opener; what stands before it loses the white space that the opener takes away.
  void read_text() {
    size_t end = pos_;
    while (end < source_.size() && !is_opener(end)) ++end;
    add_text(end);
  }

  /// The text up to a tag at `end`, without the white space that the tag takes away.
  void add_text(size_t end) {
    std::string text = source_.substr(pos_, end - pos_);
    if (end < source_.size()) {
      const char marker = end + 2 < source_.size() ? source_[end + 2] : ' ';
      if (marker == '-') {
        text.resize(text.size() - trailing_space(text));
      } else if (source_[end + 1] != '{' && marker != '+') {
        const size_t newline = text.rfind('\n');
        const size_t line_begin = newline == std::string::npos ? 0 : newline + 1;
        const bool starts_line = newline != std::string::npos || at_line_start_;
        const std::string_view rest = std::string_view(text).substr(line_begin);
        if (starts_line && leading_space(rest) == rest.size()) text.resize(line_begin);
      }
    }
    if (!text.empty()) add(Token::Kind::kText, text);
    advance(end);
  }

  /// Where the tag `{% name %}` at `pos` ends; 0 where there is another one.
  size_t named_tag(size_t pos, std::string_view name) const {
    const std::string_view source(source_);
    if (!source.substr(pos).starts_with("{%")) return 0;
    pos += 2;
    if (source.substr(pos).starts_with('-') || source.substr(pos).starts_with('+')) ++pos;
    pos += leading_space(source.substr(pos));
    if (!source.substr(pos).starts_with(name)) return 0;
    pos += name.size();
    pos += leading_space(source.substr(pos));
    if (source.substr(pos).starts_with('-') || source.substr(pos).starts_with('+')) ++pos;
    return source.substr(pos).starts_with("%}") ? pos + 2 : 0;
  }

  /// {% raw %}: text up to {% endraw %}, tags and all.
  void read_raw(size_t begin) {
    advance(begin);
    pass_space_behind(source_[begin - 3], /*trims_newline=*/false);
    size_t end = pos_, behind = 0;
    for (; end < source_.size() && behind == 0; end += behind == 0)
      behind = named_tag(end, "endraw");
    if (behind == 0) fault(fmt::format("line {}: a raw block without end", line_));
    add_text(end);
    advance(behind);
    pass_space_behind(source_[behind - 3], /*trims_newline=*/true);
  }

  bool is_opener(size_t pos) const {
    return source_[pos] == '{' && pos + 1 < source_.size() &&
           (source_[pos + 1] == '{' || source_[pos + 1] == '%' || source_[pos + 1] == '#');
  }

  void pass_comment() {
    const size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) fault(fmt::format("line {}: a comment without end", line_));
    const char marker = end > pos_ ? source_[end - 1] : ' ';
    advance(end + 2);
    pass_space_behind(marker, /*trims_newline=*/true);
  }

  /// `-%}` takes all white space behind it, `%}` one newline unless it is `+%}`.
  void pass_space_behind(char marker, bool trims_newline) {
    const size_t before = pos_;
    if (marker == '-')
      advance(pos_ + leading_space(std::string_view(source_).substr(pos_)));
    else if (marker != '+' && trims_newline && pos_ < source_.size() && source_[pos_] == '\n')
      advance(pos_ + 1);
    at_line_start_ = pos_ > before && source_[pos_ - 1] == '\n';
  }

  void read_tag(bool is_statement) {
    add(is_statement ? Token::Kind::kStatementBegin : Token::Kind::kOutputBegin, {});
    const std::string closer = is_statement ? "%}" : "}}";
    int num_open = 0;
    while (true) {
      advance(pos_ + leading_space(std::string_view(source_).substr(pos_)));
      if (pos_ >= source_.size()) fault(fmt::format("line {}: a tag without end", line_));
      const char marker = source_[pos_];
      const bool is_marked = marker == '-' || (marker == '+' && is_statement);
      if (num_open == 0 && source_.compare(pos_ + is_marked, 2, closer) == 0) {
        add(Token::Kind::kTagEnd, closer);
        advance(pos_ + is_marked + 2);
        pass_space_behind(is_marked ? marker : ' ', is_statement);
        return;
      }
      read_token();
      const Token& token = tokens_.back();
      if (token.kind != Token::Kind::kOperator) continue;
      if (token.text == "(" || token.text == "[" || token.text == "{") ++num_open;
      if (token.text == ")" || token.text == "]" || token.text == "}") --num_open;
    }
  }

  void read_token() {
    const char c = source_[pos_];
    if (is_name_start(c)) {
      size_t end = pos_;
      while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
      take(Token::Kind::kName, end);
    } else if (is_digit(c)) {
      read_number();
    } else if (c == '"' || c == '\'') {
      read_string(c);
    } else {
      for (const std::string_view candidate : kOperators) {
        if (source_.compare(pos_, candidate.size(), candidate) != 0) continue;
        take(Token::Kind::kOperator, pos_ + candidate.size());
        return;
      }
      fault(fmt::format("line {}: '{}' inside a tag", line_,
                        source_.substr(pos_, char_bytes(source_, pos_))));
    }
  }

  void read_number() {
    size_t end = pos_;
    while (end < source_.size() && is_digit(source_[end])) ++end;
    const bool is_float =
        end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1]);
    if (is_float) {
      ++end;
      while (end < source_.size() && is_digit(source_[end])) ++end;
    }
    if (end < source_.size() && (is_name_start(source_[end])))
      unknown(fmt::format("line {}: a number in this notation", line_));
    take(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, end);
  }

  void read_string(char quote) {
    std::string text;
    size_t i = pos_ + 1;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\') {
        text += source_[i];
      } else {
        i = read_escape(i + 1, text);
      }
    }
    if (i >= source_.size()) fault(fmt::format("line {}: a string without end", line_));
    add(Token::Kind::kString, text);
    advance(i + 1);
  }

  /// Reads what stands behind a backslash; returns the position of its last character.
  size_t read_escape(size_t i, std::string& text) const {
    constexpr std::string_view kNames = "ntrbfav\\'\"", kMeanings = "\n\t\r\b\f\a\v\\'\"";
    if (i >= source_.size()) fault(fmt::format("line {}: a string without end", line_));
    if (const size_t known = kNames.find(source_[i]); known != std::string_view::npos) {
      text += kMeanings[known];
      return i;
    }
    if (source_[i] == '\n') return i;
    const size_t digits = source_[i] == 'x' ? 2 : source_[i] == 'u' ? 4 : source_[i] == 'U' ? 8 : 0;
    if (digits > 0) {
      uint32_t code = 0;
      const char* first = source_.data() + i + 1;
      if (i + digits >= source_.size() ||
          std::from_chars(first, first + digits, code, 16).ptr != first + digits ||
          code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        fault(fmt::format("line {}: a broken escape in a string", line_));
      append_utf8(text, code);
      return i + digits;
    }
    if (is_digit(source_[i]) || source_[i] == 'N')
      unknown(fmt::format("line {}: the escape \\{}", line_, source_[i]));
    text += '\\';  // Python keeps the backslash of an escape it does not know
    text += source_[i];
    return i;
  }

  void take(Token::Kind kind, size_t end) {
    add(kind, source_.substr(pos_, end - pos_));
    advance(end);
  }
  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), line_});
  }
  void advance(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + pos_, source_.begin() + end, '\n'));
    pos_ = end;
  }

  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> read_tokens(const std::string& source) { return Lexer(source).run(); }

}  // namespace lora_dist::jinja
