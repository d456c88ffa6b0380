// The text of a template as tokens, white space around tags taken away as transformers sets Jinja
// up (trim_blocks, lstrip_blocks).
#pragma once

#include <string>
#include <vector>

namespace lora_dist::jinja {

struct Token {
  enum class Kind {
    kText,            // between tags
    kStatementBegin,  // {%
    kOutputBegin,     // {{
    kTagEnd,          // %} or }}
    kName,
    kInteger,
    kFloat,
    kString,  // escapes resolved
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 1;
};

/// Errors  Failure: a tag or string without end, a character that belongs to no token.
std::vector<Token> read_tokens(const std::string& source);

}  // namespace lora_dist::jinja
