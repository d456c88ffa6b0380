#include "data/sources/speakers.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

constexpr std::array<std::string_view, 13> kUserWords = {
    "用户", "客户", "顾客",     "患者",  "学生",     "提问", "问题",
    "问",   "user", "customer", "human", "question", "q"};
constexpr std::array<std::string_view, 19> kAssistantWords = {
    "律师", "客服", "医生",      "老师",  "专家", "顾问", "助手",   "助理",   "机器人", "回答",
    "答案", "答",   "assistant", "agent", "bot",  "ai",   "lawyer", "answer", "a"};
constexpr std::array<std::string_view, 2> kColons = {"：", ":"};
constexpr size_t kMaxNewWordBytes = 48;  // 16 Chinese characters

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Bare words are taken in Chinese only, where a colon goes missing in copying; "User friendly"
/// opens no turn.
bool may_stand_bare(std::string_view word) {
  return !is_ascii(word) && word.size() >= std::strlen("用户");
}

bool starts_with_ignoring_case(std::string_view text, std::string_view word) {
  if (text.size() < word.size()) return false;
  return std::equal(word.begin(), word.end(), text.begin(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  });
}

/// Bytes of blanks and a colon at `position`, or 0 where no colon stands.
size_t colon_bytes(std::string_view line, size_t position) {
  const size_t begin = std::min(line.find_first_not_of(" \t", position), line.size());
  for (const std::string_view colon : kColons)
    if (line.substr(begin).starts_with(colon)) return begin + colon.size() - position;
  return 0;
}

/// The word before the colon at the start of a line, if it can be a speaker's name at all.
std::string word_before_colon(std::string_view line) {
  line = trimmed(line);
  const size_t end = std::min(line.find("："), line.find(':'));
  if (end == std::string_view::npos || end == 0 || end > kMaxNewWordBytes) return {};
  const std::string_view word = trimmed(line.substr(0, end));
  return word.find_first_of(" \t,.;!?\"'()[]{}/") == std::string_view::npos ? std::string(word)
                                                                            : std::string();
}

size_t leading_blanks(std::string_view line) {
  return trimmed(line).empty() ? 0 : trimmed(line).data() - line.data();
}

}  // namespace

Speakers::Speakers(const std::vector<std::string>& first_lines) {
  for (const std::string_view word : kUserWords)
    words_.push_back({std::string(word), Speaker::kUser});
  for (const std::string_view word : kAssistantWords)
    words_.push_back({std::string(word), Speaker::kAssistant});
  // The longest word wins: 问题 before 问.
  std::ranges::stable_sort(words_, std::greater(),
                           [](const Word& word) { return word.text.size(); });
  if (first_lines.empty()) return;

  const std::string& first = first_lines.front();
  learn_new_words(first_lines);
  const std::optional<SpeakerMark> opening =
      mark_at(first, leading_blanks(first), /*colon_needed=*/false);
  if (opening && colon_bytes(first, opening->begin + opening->word.size()) == 0)
    bare_word_ = opening->word;
  // "Q" and "A" open turns only in files that begin with them; elsewhere "A:" heads a list.
  if (!opening || opening->word.size() > 1)
    std::erase_if(words_, [](const Word& word) { return word.text.size() == 1; });
  one_line_exchanges_ = true;
  one_line_exchanges_ = marks(first).size() > 1;
}

bool Speakers::recognises(const std::vector<std::string>& first_lines) {
  const Speakers known({});
  const auto opens_turn = [&](const std::string& line, bool colon_needed) {
    return known.mark_at(line, leading_blanks(line), colon_needed).has_value();
  };
  if (first_lines.empty()) return false;
  if (opens_turn(first_lines[0], /*colon_needed=*/true)) return true;
  return first_lines.size() > 1 && opens_turn(first_lines[0], /*colon_needed=*/false) &&
         opens_turn(first_lines[1], /*colon_needed=*/false);
}

std::vector<SpeakerMark> Speakers::marks(std::string_view line) const {
  std::vector<SpeakerMark> found;
  size_t position = leading_blanks(line);
  if (auto mark = mark_at(line, position, /*colon_needed=*/bare_word_.empty()))
    found.push_back(*mark);
  if (!one_line_exchanges_) return found;
  for (position = 0; position < line.size(); ++position) {
    const std::string_view rest = line.substr(position);
    const size_t blank = rest[0] == ' ' || rest[0] == '\t' ? 1 : rest.starts_with("\u3000") ? 3 : 0;
    if (blank == 0) continue;
    if (auto mark = mark_at(line, position + blank, /*colon_needed=*/true))
      if (found.empty() || mark->begin > found.back().begin) found.push_back(*mark);
  }
  return found;
}

std::optional<SpeakerMark> Speakers::mark_at(std::string_view line, size_t position,
                                             bool colon_needed) const {
  for (const Word& word : words_) {
    if (!starts_with_ignoring_case(line.substr(position), word.text)) continue;
    const size_t behind = position + word.text.size();
    const size_t colon = colon_bytes(line, behind);
    if (colon > 0 || (!colon_needed && may_stand_bare(word.text)))
      return SpeakerMark{word.speaker, std::string(line.substr(position, word.text.size())),
                         position, behind + colon};
  }
  return std::nullopt;
}

void Speakers::learn_new_words(const std::vector<std::string>& first_lines) {
  const auto known = [&](const std::string& line) {
    return mark_at(line, leading_blanks(line), false).has_value();
  };
  if (!known(first_lines[0])) {
    const std::string user = word_before_colon(first_lines[0]);
    if (user.empty()) return;
    words_.insert(words_.begin(), {user, Speaker::kUser});
  }
  for (const std::string& line : first_lines) {
    if (known(line)) continue;
    if (const std::string assistant = word_before_colon(line); !assistant.empty())
      words_.insert(words_.begin(), {assistant, Speaker::kAssistant});
    return;
  }
}

}  // namespace lora_dist
