#include "data/sources/speakers.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

constexpr std::array<std::string_view, 32> kUserWords = {
    "用户",   "客户",    "顾客",    "患者",   "病人",     "学生",     "学员",   "员工",
    "甲方",   "买家",    "家长",    "咨询者", "咨询人",   "候选人",   "求职者", "网友",
    "访客",   "提问",    "问题",    "问",     "user",     "customer", "human",  "question",
    "client", "patient", "student", "buyer",  "employee", "visitor",  "q",      "caller"};
constexpr std::array<std::string_view, 36> kAssistantWords = {
    "律师",   "客服", "医生",   "老师",    "专家",      "顾问",    "助手",    "助理", "机器人",
    "回答",   "答案", "答",     "hr",      "乙方",      "卖家",    "店员",    "坐席", "经理",
    "法务",   "销售", "导师",   "教练",    "assistant", "agent",   "bot",     "ai",   "lawyer",
    "answer", "a",    "doctor", "teacher", "seller",    "support", "chatgpt", "gpt",  "expert"};
/// Words before a colon that head a text and are no speakers.
constexpr std::array<std::string_view, 34> kHeadings = {
    "注意", "提示",   "备注",    "说明",  "标题",    "主题",  "时间",  "日期",  "地点",
    "来源", "编号",   "案例",    "场景",  "背景",    "对话",  "例如",  "比如",  "首先",
    "其次", "最后",   "总结",    "结论",  "note",    "notes", "title", "topic", "date",
    "time", "source", "subject", "scene", "example", "http",  "https"};
constexpr std::array<std::string_view, 2> kColons = {"：", ":"};
constexpr std::array<std::string_view, 9> kSentenceEnds = {"。", "！", "？", "；", "…",
                                                           "”",  "）", "?",  "!"};
constexpr std::array<std::string_view, 9> kNoPartOfNames = {"，", "。", "；", "！", "？",
                                                            "、", "“",  "”",  "《"};
constexpr size_t kMaxWordBytes = 48;  // 16 Chinese characters
constexpr std::string_view kAsciiNoPartOfNames = "\t,.;!?\"'()[]{}/<>=#";

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) {
    return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
  });
  return lower;
}

template <class Known>
bool is_one_of(const Known& known, std::string_view word) {
  return std::ranges::count(known, word) > 0;
}

std::optional<Speaker> known_role(const std::string& key) {
  if (is_one_of(kUserWords, key)) return Speaker::kUser;
  if (is_one_of(kAssistantWords, key)) return Speaker::kAssistant;
  return std::nullopt;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// "AI Assistant", but not "The answer is".
bool has_capitals_only(std::string_view words) {
  bool begins_word = true;
  int num_words = 0;
  for (const char c : words) {
    if (begins_word && (std::isupper(static_cast<unsigned char>(c)) == 0 || ++num_words > 3))
      return false;
    begins_word = c == ' ';
  }
  return true;
}

bool may_be_name(std::string_view word) {
  if (word.empty() || word.size() > kMaxWordBytes) return false;
  if (word.find_first_of(kAsciiNoPartOfNames) != std::string_view::npos) return false;
  if (std::ranges::any_of(kNoPartOfNames, [&](std::string_view mark) {
        return word.find(mark) != std::string_view::npos;
      }))
    return false;
  if (word.find_first_not_of("0123456789-:") == std::string_view::npos) return false;  // 10:30
  return word.find(' ') == std::string_view::npos || (is_ascii(word) && has_capitals_only(word));
}

/// Bytes of blanks and a colon at `position`, or 0 where no colon stands. The colon of a URL or of
/// a path is none.
size_t colon_bytes(std::string_view line, size_t position) {
  const size_t begin = std::min(line.find_first_not_of(" \t", position), line.size());
  for (const std::string_view colon : kColons) {
    if (!line.substr(begin).starts_with(colon)) continue;
    const std::string_view behind = line.substr(begin + colon.size());
    if (behind.starts_with("//") || behind.starts_with('\\')) return 0;
    return begin + colon.size() - position;
  }
  return 0;
}

size_t leading_blanks(std::string_view line) {
  return trimmed(line).empty() ? 0 : trimmed(line).data() - line.data();
}

/// A word that may open a turn, with what marks it.
struct Opening {
  std::string word;
  size_t end = 0;  // behind the mark
};

std::optional<Opening> bracketed_opening(std::string_view line, size_t begin) {
  constexpr std::array<std::array<std::string_view, 2>, 2> kBrackets = {{{"【", "】"}, {"[", "]"}}};
  for (const auto& [left, right] : kBrackets) {
    if (!line.substr(begin).starts_with(left)) continue;
    const size_t word_begin = begin + left.size();
    const size_t word_bytes = line.substr(word_begin, kMaxWordBytes + right.size()).find(right);
    if (word_bytes == std::string_view::npos) return std::nullopt;
    const std::string_view word = trimmed(line.substr(word_begin, word_bytes));
    const size_t behind = word_begin + word_bytes + right.size();
    const size_t colon = colon_bytes(line, behind);
    // [1] and [label] are more often something else.
    if (!may_be_name(word) || (left == "[" && colon == 0 && !known_role(lower_case(word))))
      return std::nullopt;
    return Opening{std::string(word), behind + colon};
  }
  return std::nullopt;
}

/// `word：`, `**word**：` or `**word：**` at `begin`.
std::optional<Opening> opening_at(std::string_view line, size_t begin) {
  if (auto bracketed = bracketed_opening(line, begin)) return bracketed;
  const bool bold = line.substr(begin).starts_with("**");
  if (bold) begin += 2;
  const std::string_view head = line.substr(begin, kMaxWordBytes + std::strlen("**："));
  const size_t word_bytes = std::min(head.find("："), head.find(':'));
  if (word_bytes == std::string_view::npos) return std::nullopt;
  std::string_view word = trimmed(head.substr(0, word_bytes));
  if (bold && word.ends_with("**")) word = trimmed(word.substr(0, word.size() - 2));
  const size_t colon = begin + word_bytes;
  const size_t colon_size = colon_bytes(line, colon);
  if (colon_size == 0 || !may_be_name(word)) return std::nullopt;
  size_t end = colon + colon_size;
  if (bold && line.substr(end).starts_with("**")) end += 2;
  return Opening{std::string(word), end};
}

/// The places behind a blank or the end of a sentence, where a turn may begin inside a line.
std::vector<size_t> places_inside(std::string_view line, size_t from) {
  std::vector<size_t> places;
  for (size_t i = from; i < line.size(); ++i) {
    const std::string_view rest = line.substr(i);
    size_t size = rest[0] == ' ' || rest[0] == '\t' ? 1 : rest.starts_with("\u3000") ? 3 : 0;
    for (const std::string_view mark : kSentenceEnds)
      if (size == 0 && rest.starts_with(mark)) size = mark.size();
    if (size > 0 && i + size < line.size()) places.push_back(i + size);
  }
  return places;
}

/// A known word of at least two Chinese characters at the start of a line. Bare words are taken in
/// Chinese only, where a colon goes missing in copying; "User friendly" opens no turn.
std::string known_bare_word(std::string_view line) {
  line = trimmed(line);
  std::string longest;
  const auto look_at = [&](std::string_view word) {
    const bool may_stand_bare = !is_ascii(word) && word.size() >= std::strlen("用户");
    if (may_stand_bare && line.starts_with(word) && word.size() > longest.size()) longest = word;
  };
  for (const std::string_view word : kUserWords) look_at(word);
  for (const std::string_view word : kAssistantWords) look_at(word);
  return longest;
}

}  // namespace

void Speakers::Candidates::add(const std::string& word, size_t line, bool inside) {
  const std::string key = lower_case(word);
  const auto same = std::ranges::find_if(
      words, [&](const Word& known) { return known.key == key && known.inside_lines == inside; });
  if (same != words.end())
    ++same->count;
  else
    words.push_back({word, key, known_role(key), 1, line, inside});
}

int64_t Speakers::Candidates::count(const std::string& key) const {
  int64_t sum = 0;
  for (const Word& word : words) sum += word.key == key ? word.count : 0;
  return sum;
}

Speakers::Candidates Speakers::candidates_of(const std::vector<std::string>& lines) {
  Candidates candidates;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const std::optional<Opening> opening = opening_at(line, leading_blanks(line));
    if (!opening || is_one_of(kHeadings, lower_case(opening->word))) continue;
    candidates.add(opening->word, i, /*inside=*/false);
    size_t behind = opening->end;
    for (const size_t place : places_inside(line, opening->end)) {
      if (place < behind) continue;  // "Agent:" of "Support Agent:"
      const std::optional<Opening> inside = opening_at(line, place);
      if (!inside || is_one_of(kHeadings, lower_case(inside->word))) continue;
      candidates.add(inside->word, i, /*inside=*/true);
      behind = inside->end;
    }
  }
  return candidates;
}

Speakers::Speakers(const std::vector<std::string>& first_lines) {
  choose(candidates_of(first_lines));
  if (user_.word.empty() || assistant_.word.empty()) choose_bare(first_lines);
}

void Speakers::choose(const Candidates& candidates) {
  const auto best = [&](bool inside, const std::string& other) {
    const auto weight = [](const Word& word) { return word.count * (word.known ? 2 : 1); };
    const Word* found = nullptr;
    for (const Word& word : candidates.words) {
      if (word.inside_lines != inside || word.key == other) continue;
      if (found == nullptr || weight(word) > weight(*found)) found = &word;
    }
    return found;
  };
  const Word* first = best(/*inside=*/false, "");
  if (first == nullptr) return;
  const Word* second = best(/*inside=*/false, first->key);
  const Word* inside = best(/*inside=*/true, first->key);
  // A file of exchanges on one line has its second speaker nowhere else.
  const bool on_one_line =
      inside != nullptr && (second == nullptr || inside->count > second->count);
  if (on_one_line) second = inside;
  if (second != nullptr && !second->inside_lines && second->first_line < first->first_line)
    std::swap(first, second);
  user_ = *first;
  if (second != nullptr) assistant_ = *second;
}

void Speakers::choose_bare(const std::vector<std::string>& lines) {
  constexpr size_t kMaxTitles = 3;
  for (size_t i = 0; i < std::min(lines.size(), kMaxTitles + 1); ++i) {
    const std::string first = known_bare_word(lines[i]);
    const std::string second = i + 1 < lines.size() ? known_bare_word(lines[i + 1]) : "";
    if (first.empty() || second.empty() || first == second) continue;
    user_ = {.word = first, .key = first, .known = known_role(first), .first_line = i};
    assistant_ = {.word = second, .key = second, .known = known_role(second), .first_line = i + 1};
    bare_ = true;
    return;
  }
}

bool Speakers::recognises(const std::vector<std::string>& first_lines) {
  const Speakers speakers(first_lines);
  return speakers.bare_ || speakers.is_certain(candidates_of(first_lines), first_lines.size());
}

bool Speakers::is_certain(const Candidates& candidates, size_t num_lines) const {
  constexpr size_t kMaxLinesBefore = 5;  // titles
  if (user_.word.empty() || user_.first_line > kMaxLinesBefore) return false;
  // One known speaker alone is half a dialogue, which reading reports.
  if (assistant_.word.empty())
    return user_.known && user_.first_line == 0 && (user_.count > 1 || num_lines <= 2);
  if (user_.known && assistant_.known) return true;
  const bool often = user_.count > 1 && assistant_.count > 1;
  const bool alone = std::ranges::all_of(candidates.words, [&](const Word& word) {
    return word.key == user_.key || word.key == assistant_.key;
  });
  if (user_.known || assistant_.known) return often || alone;
  const auto [fewer, more] = std::minmax(user_.count, assistant_.count);
  const bool rivalled = std::ranges::any_of(candidates.words, [&](const Word& word) {
    return word.key != user_.key && word.key != assistant_.key && 2 * word.count >= fewer;
  });
  return often && more <= 2 * fewer && (alone || !rivalled);
}

bool Speakers::are_reversed() const {
  return user_.known == Speaker::kAssistant && assistant_.known == Speaker::kUser;
}

std::optional<SpeakerMark> Speakers::mark_at_start(std::string_view line,
                                                   const DialogueState& state) const {
  const size_t begin = leading_blanks(line);
  if (const std::optional<Opening> opening = opening_at(line, begin)) {
    const std::string key = lower_case(opening->word);
    if (key == user_.key) return SpeakerMark{Speaker::kUser, begin, opening->end};
    if (key == assistant_.key) return SpeakerMark{Speaker::kAssistant, begin, opening->end};
    const std::optional<Speaker> role = known_role(key);
    // "Q" and "A" open turns only in files that they began; elsewhere "A:" heads a list.
    const bool may_join =
        role && key.size() > 1 &&
        (*role == Speaker::kUser ? state.at_start : state.awaits_answer && !state.at_start);
    if (may_join && !are_reversed()) return SpeakerMark{*role, begin, opening->end};
  }
  if (!bare_) return std::nullopt;
  for (const auto& [word, speaker] :
       {std::pair(&user_, Speaker::kUser), std::pair(&assistant_, Speaker::kAssistant)})
    if (line.substr(begin).starts_with(word->word))
      return SpeakerMark{speaker, begin, begin + word->word.size()};
  return std::nullopt;
}

std::vector<SpeakerMark> Speakers::marks_inside(std::string_view line, size_t position,
                                                Speaker next) const {
  std::vector<SpeakerMark> marks;
  for (const size_t place : places_inside(line, position)) {
    if (!marks.empty() && place < marks.back().end) continue;
    const std::optional<Opening> opening = opening_at(line, place);
    if (!opening) continue;
    const std::string key = lower_case(opening->word);
    const bool joins = next == Speaker::kAssistant && key.size() > 1 && key != user_.key &&
                       known_role(key) == Speaker::kAssistant;
    if (key != (next == Speaker::kUser ? user_.key : assistant_.key) && !joins) continue;
    marks.push_back({next, place, opening->end});
    next = next == Speaker::kUser ? Speaker::kAssistant : Speaker::kUser;
  }
  return marks;
}

}  // namespace lora_dist
