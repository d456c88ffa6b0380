// Who speaks in a plain-text dialogue: the two words that open the turns of a file, whatever they
// are, and known words that join them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/openings.hpp"

namespace lora_dist {

/// A speaker's mark found in a line.
struct SpeakerMark {
  Speaker speaker = Speaker::kUser;
  size_t begin = 0;  // of the mark in the line
  size_t end = 0;    // behind it: the turn's text begins here
};

/// What came before a line: it decides whether a known word that has not spoken yet may join.
struct DialogueState {
  bool awaits_answer = false;  // the turn before is the user's
  bool at_start = true;        // of a file, or behind a blank line
};

class Speakers {
 public:
  /// Learns from the first non-blank lines of a file who speaks: the two words that open most
  /// lines, known ones counting twice. The one that speaks first is the user.
  explicit Speakers(const std::vector<std::string>& first_lines);

  /// Whether the lines are a dialogue beyond doubt: between known words, words that open lines
  /// again and again, or two that open all there is.
  static bool recognises(const std::vector<std::string>& first_lines);

  /// The words of the two speakers as the file spells them; empty where there is none.
  const std::string& user() const { return user_.word; }
  const std::string& assistant() const { return assistant_.word; }
  /// The file leaves out the colons behind the words.
  bool are_bare() const { return bare_; }
  /// The words say that it is the other way round ("客服" first, then "用户").
  bool are_reversed() const;
  /// A system text stands before the first question.
  bool has_system_head() const { return has_system_head_; }

  /// The mark at the start of the line.
  std::optional<SpeakerMark> mark_at_start(std::string_view line, const DialogueState& state) const;
  /// Marks further on in a line, from `position` on, of user and assistant in turn, beginning with
  /// `next`: behind a blank or the end of a sentence.
  std::vector<SpeakerMark> marks_inside(std::string_view line, size_t position, Speaker next) const;

 private:
  struct Word {
    std::string word, key;  // as written; in lower case, without what `reading` ignores
    std::optional<Speaker> known;
    int64_t count = 0;
    size_t first_line = 0;
    bool inside_lines = false;  // stands behind another speaker on one line
    bool has_number = false;    // which the key leaves out
    Opening::Form form = Opening::Form::kPlain;
  };
  struct Candidates {
    std::vector<Word> words;  // in the order of their first line
    size_t num_opened = 0;    // lines that a candidate opens, or that follow one that stands alone
    std::optional<size_t> system_line;  // the first that heads a system text
  };
  /// How words are taken: tried in this order until two speak beyond doubt.
  struct Reading {
    bool numbers_count = false;  // "User 1" and "User 2" are two speakers
    bool system_speaks = false;  // "System:" is a speaker, as in "User: ... System: ..."
  };

  Speakers(const std::vector<std::string>& lines, Reading reading);
  std::string key_of(const std::string& word) const;
  std::optional<Speaker> role_of(const std::string& key) const;
  void add(const Opening& opening, size_t line, bool inside, Candidates& candidates) const;
  Candidates candidates_of(const std::vector<std::string>& lines) const;
  void choose(const Candidates& candidates);
  void choose_bare(const std::vector<std::string>& lines);
  bool is_certain(const Candidates& candidates, size_t num_lines) const;
  bool may_open(const Opening& opening, const Word& word) const;

  Reading reading_;
  Word user_, assistant_;
  bool bare_ = false, certain_ = false, has_system_head_ = false;
};

}  // namespace lora_dist
