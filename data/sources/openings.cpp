#include "data/sources/openings.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "data/sources/line_reader.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

constexpr std::array<std::string_view, 2> kColons = {"：", ":"};
constexpr std::array<std::string_view, 9> kSentenceEnds = {"。", "！", "？", "；", "…",
                                                           "”",  "）", "?",  "!"};
constexpr std::array<std::string_view, 9> kNoPartOfNames = {"，", "。", "；", "！", "？",
                                                            "、", "“",  "”",  "《"};
constexpr std::array<std::array<std::string_view, 2>, 4> kBrackets = {
    {{"【", "】"}, {"[", "]"}, {"（", "）"}, {"(", ")"}}};
constexpr size_t kMaxWordBytes = 48;  // 16 Chinese characters
constexpr std::string_view kAsciiNoPartOfNames = "\t,;!?\"'()[]{}/<>=#";

size_t blanks_at(std::string_view line, size_t position) {
  return std::min(line.find_first_not_of(" \t", position), line.size()) - position;
}

/// "AI Assistant" and "Speaker 2", but not "The answer is".
bool has_capitals_only(std::string_view words) {
  bool begins_word = true;
  int num_words = 0;
  for (const char c : words) {
    if (begins_word && (!(is_upper(c) || (num_words > 0 && is_digit(c))) || ++num_words > 3))
      return false;
    begins_word = c == ' ';
  }
  return true;
}

bool is_known(std::string_view word) {
  return known_role(without_number(lower_case(word))).has_value();
}

/// Each dot ends an abbreviation, as in "Dr. House" or "J.R. Smith"; before "User" it ends a
/// sentence.
bool has_dots_of_names_only(std::string_view word) {
  constexpr size_t kMaxLetters = 4;
  if (const size_t last = word.rfind(". "); last != std::string_view::npos)
    if (is_known(word.substr(last + 2))) return false;
  for (size_t dot = word.find('.'); dot != std::string_view::npos; dot = word.find('.', dot + 1)) {
    size_t begin = dot;
    while (begin > 0 && is_letter(word[begin - 1])) --begin;
    if (begin == dot || dot - begin > kMaxLetters || !is_upper(word[begin])) return false;
  }
  return true;
}

bool may_be_name(std::string_view word) {
  if (word.empty() || word.size() > kMaxWordBytes) return false;
  if (is_known(word)) return true;  // "user #2"
  word = without_remark(word);
  if (word.find_first_of(kAsciiNoPartOfNames) != std::string_view::npos) return false;
  if (std::ranges::any_of(kNoPartOfNames, [&](std::string_view mark) {
        return word.find(mark) != std::string_view::npos;
      }))
    return false;
  if (word.find_first_not_of("0123456789-:. ") == std::string_view::npos) return false;  // 10:30
  if (!has_dots_of_names_only(word)) return false;
  return word.find(' ') == std::string_view::npos || (is_ascii(word) && has_capitals_only(word));
}

/// Bytes of blanks and a colon at `position`, or 0 where no colon stands. The colon of a URL or of
/// a path is none.
size_t colon_bytes(std::string_view line, size_t position) {
  const size_t begin = position + blanks_at(line, std::min(position, line.size()));
  for (const std::string_view colon : kColons) {
    if (!line.substr(begin).starts_with(colon)) continue;
    const std::string_view behind = line.substr(begin + colon.size());
    if (behind.starts_with("//") || behind.starts_with('\\')) return 0;
    return begin + colon.size() - position;
  }
  return 0;
}

/// Bytes of a date and a clock's time at the start of `text` with what parts them from the name
/// behind, in brackets or not: "[10:00] ", "2024-01-01 10:00:05 ", "1/2/24, 10:00 PM - ". 0: none.
size_t time_stamp_bytes(std::string_view text) {
  constexpr std::array<std::string_view, 10> kParts = {"年", "月", "日", "上午", "下午",
                                                       "时", "分", "秒", "AM",   "PM"};
  std::string_view closing;
  size_t i = 0;
  for (const auto& [left, right] : kBrackets)
    if (text.starts_with(left)) {
      i = left.size();
      closing = right;
    }
  bool has_clock = false;
  for (size_t size = 1; i < text.size() && size > 0; i += size) {
    const std::string_view rest = text.substr(i);
    const bool behind_digit = i > 0 && is_digit(text[i - 1]);
    size = is_digit(rest[0]) || std::strchr("-/.,: ", rest[0]) != nullptr ||
           (behind_digit && (rest[0] == 'T' || rest[0] == 'Z'));
    for (const std::string_view part : kParts)
      if (size == 0 && rest.starts_with(part)) size = part.size();
    if (behind_digit && rest[0] == ':' && rest.size() > 2 && is_digit(rest[1]) && is_digit(rest[2]))
      has_clock = true;
  }
  if (!has_clock) return 0;
  if (!closing.empty()) {
    if (!text.substr(i).starts_with(closing)) return 0;
    i += closing.size();
  } else if (i == 0 || text[i - 1] != ' ') {
    return 0;
  }
  i += blanks_at(text, i);
  if (text.substr(i).starts_with("- ")) i += 2;
  return i + blanks_at(text, i);
}

/// Bytes of a list's number or bullet at the start of `text`: "1. ", "2、", "(3) ", "- ". 0: none.
size_t list_mark_bytes(std::string_view text) {
  for (const std::string_view bullet : {"- ", "* ", "• ", "> "})
    if (text.starts_with(bullet)) return bullet.size() + blanks_at(text, bullet.size());
  size_t i = 0;
  for (const std::string_view left : {"(", "（"})
    if (text.starts_with(left)) i = left.size();
  const size_t begin = i;
  while (i < text.size() && i < begin + 4 && is_digit(text[i])) ++i;
  if (i == begin) return 0;
  for (const std::string_view right : {"）", ")", "、", ".", "．"})
    if (text.substr(i).starts_with(right)) {
      i += right.size();
      return i + blanks_at(text, i);
    }
  return 0;
}

std::optional<Opening> bracketed_opening(std::string_view line, size_t begin) {
  for (const auto& [left, right] : {kBrackets[0], kBrackets[1]}) {
    if (!line.substr(begin).starts_with(left)) continue;
    const size_t word_begin = begin + left.size();
    const size_t word_bytes = line.substr(word_begin, kMaxWordBytes + right.size()).find(right);
    if (word_bytes == std::string_view::npos) return std::nullopt;
    const std::string_view word = trimmed(line.substr(word_begin, word_bytes));
    const size_t behind = word_begin + word_bytes + right.size();
    const size_t colon = colon_bytes(line, behind);
    // [1] and [label] are more often something else.
    if (!may_be_name(word) || (left == "[" && colon == 0 && !is_known(word))) return std::nullopt;
    return Opening{std::string(word), behind + colon};
  }
  return std::nullopt;
}

/// `word：`, `**word**：` or `**word：**` at `begin`; `### word` alone on its line without a colon.
std::optional<Opening> named_opening(std::string_view line, size_t begin, bool is_heading_line) {
  if (auto bracketed = bracketed_opening(line, begin)) return bracketed;
  const bool bold = line.substr(begin).starts_with("**");
  if (bold) begin += 2;
  const std::string_view head = line.substr(begin, kMaxWordBytes + std::strlen("**："));
  const size_t word_bytes = std::min(head.find("："), head.find(':'));
  if (word_bytes == std::string_view::npos) {
    const std::string_view word = trimmed(line.substr(begin));
    if (!is_heading_line || bold || !is_known(word)) return std::nullopt;
    return Opening{std::string(word), line.size()};
  }
  std::string_view word = trimmed(head.substr(0, word_bytes));
  if (bold && word.ends_with("**")) word = trimmed(word.substr(0, word.size() - 2));
  const size_t colon = begin + word_bytes;
  const size_t colon_size = colon_bytes(line, colon);
  if (colon_size == 0 || !may_be_name(word)) return std::nullopt;
  size_t end = colon + colon_size;
  if (bold && line.substr(end).starts_with("**")) end += 2;
  return Opening{std::string(word), end};
}

}  // namespace

size_t leading_blanks(std::string_view line) {
  return trimmed(line).empty() ? 0 : trimmed(line).data() - line.data();
}

std::optional<Opening> opening_at(std::string_view line, size_t begin) {
  begin += time_stamp_bytes(line.substr(begin));
  size_t hashes = 0;
  while (line.substr(begin + hashes).starts_with('#')) ++hashes;
  if (hashes > 0) {
    begin += hashes;
    begin += blanks_at(line, begin);
    std::optional<Opening> opening = named_opening(line, begin, /*is_heading_line=*/true);
    if (opening) opening->form = Opening::Form::kHeading;
    return opening;
  }
  if (auto opening = named_opening(line, begin, /*is_heading_line=*/false)) return opening;
  const size_t mark = list_mark_bytes(line.substr(begin));
  if (mark == 0) return std::nullopt;
  std::optional<Opening> opening = named_opening(line, begin + mark, /*is_heading_line=*/false);
  // Lists have heads of all kinds: "1. 优点：" opens no turn.
  if (!opening || !is_known(opening->word)) return std::nullopt;
  opening->form = Opening::Form::kListed;
  return opening;
}

std::vector<size_t> places_inside(std::string_view line, size_t from) {
  std::vector<size_t> places;
  for (size_t i = from; i < line.size(); ++i) {
    const std::string_view rest = line.substr(i);
    if (rest.starts_with("##") && i > 0 && line[i - 1] != '#') {
      if (places.empty() || places.back() != i) places.push_back(i);
      continue;
    }
    size_t size = rest[0] == ' ' || rest[0] == '\t' ? 1 : rest.starts_with("\u3000") ? 3 : 0;
    for (const std::string_view mark : kSentenceEnds)
      if (size == 0 && rest.starts_with(mark)) size = mark.size();
    if (size > 0 && i + size < line.size()) places.push_back(i + size);
  }
  return places;
}

}  // namespace lora_dist
