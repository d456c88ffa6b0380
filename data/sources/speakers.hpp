// Who speaks in a plain-text dialogue: known speaker words, and those that the first lines of a
// file introduce.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lora_dist {

enum class Speaker : uint8_t { kUser, kAssistant };

/// A speaker's mark found in a line: `用户：`, `User:`, or the bare word.
struct SpeakerMark {
  Speaker speaker = Speaker::kUser;
  std::string word;
  size_t begin = 0;  // of the word in the line
  size_t end = 0;    // behind the colon: the turn's text begins here
};

class Speakers {
 public:
  /// Learns from the first non-blank lines: the word before the first colon is the user, the next
  /// new one the assistant; whether the colon is left out; whether a line holds a whole exchange.
  explicit Speakers(const std::vector<std::string>& first_lines);

  /// Whether the lines begin as a dialogue between known speakers.
  static bool recognises(const std::vector<std::string>& first_lines);

  /// The turns that begin in this line, in order. Text before the first belongs to the turn before.
  std::vector<SpeakerMark> marks(std::string_view line) const;

  /// The word that stands at the start of the file without its colon, or empty.
  const std::string& bare_word() const { return bare_word_; }

 private:
  struct Word {
    std::string text;
    Speaker speaker;
  };
  std::optional<SpeakerMark> mark_at(std::string_view line, size_t position,
                                     bool colon_needed) const;
  void learn_new_words(const std::vector<std::string>& first_lines);

  std::vector<Word> words_;
  std::string bare_word_;
  bool one_line_exchanges_ = false;
};

}  // namespace lora_dist
