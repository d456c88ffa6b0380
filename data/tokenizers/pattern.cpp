#include "data/tokenizers/pattern.hpp"

#include <oniguruma.h>

#include <cctype>

#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxSourceBytes = 4096;       // reliability 10.2
constexpr unsigned long kTestSteps = 100'000;  // reliability 10.2
constexpr unsigned int kTestStack =
    1 << 20;  // entries of Oniguruma's backtracking stack, about 64 MB

const OnigUChar* bytes_of(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

std::string onig_message(int code, OnigErrorInfo* info = nullptr) {
  OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = onig_error_code_to_str(text, code, info);
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(length)};
}

re_pattern_buffer* compile(const std::string& source, const std::string& where) {
  static const int initialized = [] {
    OnigEncoding encoding = ONIG_ENCODING_UTF8;
    return onig_initialize(&encoding, 1);
  }();
  LD_CHECK(initialized == ONIG_NORMAL, "Oniguruma does not start");
  OnigRegex compiled = nullptr;
  OnigErrorInfo info{};
  const OnigUChar* begin = bytes_of(source);
  const int code = onig_new(&compiled, begin, begin + source.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, ONIG_SYNTAX_ONIGURUMA, &info);
  if (code != ONIG_NORMAL)
    throw ModelError({.where = where,
                      .found = fmt::format("'{}' is not a regular expression ({})",
                                           printable(source), onig_message(code, &info)),
                      .expected = {},
                      .fix = {}});
  return compiled;
}

/// Owns the positions of one match.
class Region {
 public:
  Region() : region_(onig_region_new()) {}
  ~Region() { onig_region_free(region_, /*free_self=*/1); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  OnigRegion* get() { return region_; }
  size_t begin() const { return region_->beg[0]; }
  size_t end() const { return region_->end[0]; }

 private:
  OnigRegion* region_;
};

void visit_regexes(const nlohmann::json& value,
                   const std::function<void(const std::string&)>& visit) {
  if (value.is_object() && value.contains("Regex") && value["Regex"].is_string())
    visit(value["Regex"].get<std::string>());
  if (value.is_structured())
    for (const auto& member : value) visit_regexes(member, visit);
}

}  // namespace

Pattern::Pattern(const std::string& source, const std::string& where)
    : source_(source), where_(where) {
  if (source.size() > kMaxSourceBytes)
    throw ModelError({.where = where,
                      .found = fmt::format("a regular expression of {} bytes", source.size()),
                      .expected = fmt::format("at most {}", kMaxSourceBytes),
                      .fix = {}});
  compiled_.reset(compile(source, where), [](re_pattern_buffer* compiled) { onig_free(compiled); });
}

Pattern Pattern::literal(const std::string& text, const std::string& where) {
  std::string escaped;
  for (const char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) escaped += '\\';
    escaped += c;
  }
  return {escaped, where};
}

std::vector<Span> Pattern::spans(std::string_view text) const {
  std::vector<Span> result;
  if (text.empty()) return result;
  const OnigUChar* begin = bytes_of(text);
  const OnigUChar* end = begin + text.size();
  Region region;
  size_t covered = 0;
  for (size_t from = 0; from <= text.size();) {
    const int code =
        onig_search(compiled_.get(), begin, end, begin + from, end, region.get(), ONIG_OPTION_NONE);
    if (code == ONIG_MISMATCH) break;
    if (code < 0)
      throw ModelError({.where = where_,
                        .found = fmt::format("pattern '{}' fails on a text of {} bytes ({})",
                                             printable(source_), text.size(), onig_message(code)),
                        .expected = {},
                        .fix = "shorten the text or split it into several records"});
    // An empty match right behind the last match would be found for ever: step over one character.
    if (region.begin() == region.end() && !result.empty() && region.end() == covered) {
      from += from < text.size() ? char_bytes(text, from) : 1;
      continue;
    }
    if (region.begin() > covered) result.push_back({covered, region.begin(), false});
    result.push_back({region.begin(), region.end(), true});
    from = covered = region.end();
  }
  if (covered < text.size()) result.push_back({covered, text.size(), false});
  return result;
}

bool Pattern::stays_within_budget() const {
  std::string mixed;
  for (int i = 0; i < 16; ++i) mixed += "aA1 _";
  const std::string texts[] = {std::string(64, 'a') + "!", std::string(64, ' ') + "!",
                               std::string(64, '1') + "!", mixed + "\n!"};
  OnigMatchParam* limits = onig_new_match_param();
  onig_initialize_match_param(limits);
  onig_set_retry_limit_in_search_of_match_param(limits, kTestSteps);
  onig_set_match_stack_limit_size_of_match_param(limits, kTestStack);
  bool within = true;
  for (const std::string& text : texts) {
    const OnigUChar* begin = bytes_of(text);
    const OnigUChar* end = begin + text.size();
    const int code = onig_search_with_param(compiled_.get(), begin, end, begin, end, nullptr,
                                            ONIG_OPTION_NONE, limits);
    within = within && (code >= 0 || code == ONIG_MISMATCH);
  }
  onig_free_match_param(limits);
  return within;
}

Pattern read_pattern(const JsonView& spec, const std::string& key) {
  const JsonView pattern = spec.at(key);
  if (pattern.has("Regex")) return {pattern.text("Regex"), spec.file()};
  if (!pattern.has("String")) pattern.fail("neither String nor Regex");
  const std::string text = pattern.text("String");
  if (text.empty()) pattern.fail("an empty string", "a text to look for");
  return Pattern::literal(text, spec.file());
}

void check_patterns(const nlohmann::json& tokenizer_json, const std::string& path) {
  int number = 0;
  visit_regexes(tokenizer_json, [&](const std::string& source) {
    ++number;
    if (Pattern(source, path).stays_within_budget()) return;
    throw ModelError(
        {.where = path,
         .found = fmt::format("pattern {} exceeds the match limit on its test text", number),
         .expected = {},
         .fix = "not a known tokenizer"});
  });
}

}  // namespace lora_dist
