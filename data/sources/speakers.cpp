#include "data/sources/speakers.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "data/sources/line_reader.hpp"

namespace lora_dist {

Speakers::Speakers(const std::vector<std::string>& first_lines) : Speakers(first_lines, Reading{}) {
  constexpr std::array<Reading, 2> kOthers = {{{.numbers_count = false, .system_speaks = true},
                                               {.numbers_count = true, .system_speaks = false}}};
  for (const Reading& reading : kOthers) {
    if (certain_ && !assistant_.word.empty()) return;
    Speakers other(first_lines, reading);
    if (other.certain_ && !other.assistant_.word.empty()) *this = std::move(other);
  }
}

Speakers::Speakers(const std::vector<std::string>& lines, Reading reading) : reading_(reading) {
  const Candidates candidates = candidates_of(lines);
  choose(candidates);
  has_system_head_ =
      candidates.system_line && !user_.word.empty() && *candidates.system_line <= user_.first_line;
  if (user_.word.empty() || assistant_.word.empty()) choose_bare(lines);
  certain_ = bare_ || is_certain(candidates, lines.size());
}

std::string Speakers::key_of(const std::string& word) const {
  const std::string key = lower_case(word);
  const std::string_view bare = without_number(key);
  return !reading_.numbers_count && known_role(bare) ? std::string(bare) : key;
}

/// Of the two that a dialogue is between.
std::optional<Speaker> Speakers::role_of(const std::string& key) const {
  const std::optional<Speaker> role = known_role(key);
  if (role == Speaker::kSystem && reading_.system_speaks) return Speaker::kAssistant;
  return role == Speaker::kUser || role == Speaker::kAssistant ? role : std::nullopt;
}

void Speakers::add(const Opening& opening, size_t line, bool inside, Candidates& candidates) const {
  const std::string key = key_of(opening.word);
  if (is_heading(key)) return;
  const std::optional<Speaker> role = known_role(key);
  if (role == Speaker::kSystem && !reading_.system_speaks) {
    if (!inside && !candidates.system_line) candidates.system_line = line;
    return;
  }
  if (role == Speaker::kInput) return;
  const auto same = std::ranges::find_if(candidates.words, [&](const Word& known) {
    return known.key == key && known.inside_lines == inside;
  });
  if (same != candidates.words.end())
    ++same->count;
  else
    candidates.words.push_back({.word = opening.word,
                                .key = key,
                                .known = role_of(key),
                                .count = 1,
                                .first_line = line,
                                .inside_lines = inside,
                                .has_number = key != lower_case(opening.word),
                                .form = opening.form});
}

Speakers::Candidates Speakers::candidates_of(const std::vector<std::string>& lines) const {
  Candidates candidates;
  bool stands_alone = false;  // the line before is a speaker's word and nothing more
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const std::optional<Opening> opening = opening_at(line, leading_blanks(line));
    const bool opens = opening && !is_heading(key_of(opening->word));
    if (opens || stands_alone) ++candidates.num_opened;
    stands_alone = opens && trimmed(std::string_view(line).substr(opening->end)).empty();
    if (!opens) continue;
    add(*opening, i, /*inside=*/false, candidates);
    size_t behind = opening->end;
    // "System: ... User: ... Assistant: ..." begins with the user.
    bool begins_inside = candidates.system_line == i;
    for (const size_t place : places_inside(line, opening->end)) {
      if (place < behind) continue;  // "Agent:" of "Support Agent:"
      const std::optional<Opening> inside = opening_at(line, place);
      if (!inside || is_heading(key_of(inside->word))) continue;
      add(*inside, i, /*inside=*/!std::exchange(begins_inside, false), candidates);
      behind = inside->end;
    }
  }
  return candidates;
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
  return Speakers(first_lines).certain_;
}

bool Speakers::is_certain(const Candidates& candidates, size_t num_lines) const {
  constexpr size_t kMaxLinesBefore = 5;  // titles
  if (user_.word.empty()) return false;
  if (user_.first_line > kMaxLinesBefore && !has_system_head_) return false;
  // One known speaker alone is half a dialogue, which reading reports; "Q1:" is also a quarter.
  if (assistant_.word.empty())
    return user_.known && !user_.has_number && user_.first_line == 0 &&
           (user_.count > 1 || num_lines <= 2);
  if (user_.known && assistant_.known) return true;
  const bool often = user_.count > 1 && assistant_.count > 1;
  const bool alone = std::ranges::all_of(candidates.words, [&](const Word& word) {
    return word.key == user_.key || word.key == assistant_.key;
  });
  if (user_.known || assistant_.known) return often || alone;
  // A single exchange is all that the file holds; "Day 1:" and "Day 2:" are a list.
  if (user_.count == 1 && assistant_.count == 1 && alone && !assistant_.inside_lines)
    return candidates.num_opened == num_lines && num_lines <= 4 &&
           without_number(user_.key) != without_number(assistant_.key);
  const auto [fewer, more] = std::minmax(user_.count, assistant_.count);
  const bool rivalled = std::ranges::any_of(candidates.words, [&](const Word& word) {
    return word.key != user_.key && word.key != assistant_.key && 2 * word.count >= fewer;
  });
  return often && more <= 2 * fewer && (alone || !rivalled);
}

bool Speakers::are_reversed() const {
  return user_.known == Speaker::kAssistant && assistant_.known == Speaker::kUser;
}

/// `### User:` speaks only in files that write it so, and "1. 问：" only where the lists are of
/// turns.
bool Speakers::may_open(const Opening& opening, const Word& word) const {
  using enum Opening::Form;
  if (opening.form == kHeading || word.form == kHeading) return opening.form == word.form;
  return opening.form == kPlain || word.form == kListed;
}

std::optional<SpeakerMark> Speakers::mark_at_start(std::string_view line,
                                                   const DialogueState& state) const {
  const size_t begin = leading_blanks(line);
  if (const std::optional<Opening> opening = opening_at(line, begin)) {
    const std::string key = key_of(opening->word);
    const auto mark = [&](Speaker speaker) { return SpeakerMark{speaker, begin, opening->end}; };
    if (key == user_.key && may_open(*opening, user_)) return mark(Speaker::kUser);
    if (key == assistant_.key && may_open(*opening, assistant_)) return mark(Speaker::kAssistant);
    const std::optional<Speaker> role = role_of(key), known = known_role(key);
    if (known == Speaker::kInput && opens_instruction(user_.key) && state.awaits_answer &&
        may_open(*opening, user_))
      return mark(Speaker::kInput);
    if (known == Speaker::kSystem && !role && !state.awaits_answer &&
        (state.at_start || has_system_head_))
      return mark(Speaker::kSystem);
    // "Q" and "A" open turns only in files that they began; elsewhere "A:" heads a list.
    const bool may_join =
        role && key.size() > 1 && may_open(*opening, user_) &&
        (*role == Speaker::kUser ? state.at_start : state.awaits_answer && !state.at_start);
    if (may_join && !are_reversed()) return mark(*role);
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
    const std::string key = key_of(opening->word);
    const bool joins = next == Speaker::kAssistant && key.size() > 1 && key != user_.key &&
                       known_role(key) == Speaker::kAssistant && may_open(*opening, user_);
    const Word& speaker = next == Speaker::kUser ? user_ : assistant_;
    if (!joins && (key != speaker.key || !may_open(*opening, speaker))) continue;
    marks.push_back({next, place, opening->end});
    next = next == Speaker::kUser ? Speaker::kAssistant : Speaker::kUser;
  }
  return marks;
}

}  // namespace lora_dist
