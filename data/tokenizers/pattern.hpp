// Regular expressions of tokenizer.json, run by Oniguruma: the engine of Hugging Face's tokenizers,
// so look-ahead, Unicode classes and (?i:...) mean the same. Oniguruma stays behind this header.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/tokenizers/json_view.hpp"

struct re_pattern_buffer;  // Oniguruma's compiled expression

namespace lora_dist {

struct Span {
  size_t begin = 0, end = 0;  // bytes
  bool is_match = false;
};

/// Compiled once, used by any number of threads; copies share the compiled expression.
class Pattern {
 public:
  /// `where` is for messages. Errors  ModelError: not a regular expression, longer than 4 KB.
  Pattern(const std::string& source, const std::string& where);
  /// Matches `text` as it is.
  static Pattern literal(const std::string& text, const std::string& where);

  /// The matches from left to right and the stretches between them; together they cover `text`.
  /// Errors  ModelError: more backtracking than Oniguruma allows (10 million steps).
  std::vector<Span> spans(std::string_view text) const;

  /// Tries the expression on texts that make nested repetitions explode, with a budget of 100 000
  /// steps each.
  bool stays_within_budget() const;

 private:
  std::shared_ptr<re_pattern_buffer> compiled_;
  std::string source_;
  std::string where_;
};

/// {"String": "..."} or {"Regex": "..."} under `key` of a component.
Pattern read_pattern(const JsonView& spec, const std::string& key = "pattern");

/// Refuses expressions that cannot be run safely, before any text meets them. Errors  ModelError.
void check_patterns(const nlohmann::json& tokenizer_json, const std::string& path);

}  // namespace lora_dist
