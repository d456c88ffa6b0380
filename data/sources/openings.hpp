// What may open a turn in a line of a plain-text dialogue: a name and what marks it as one, whoever
// it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/sources/speaker_words.hpp"

namespace lora_dist {

/// A word that may open a turn: `用户：`, `User:`, `【用户】`, `**用户**：`, also behind a time
/// stamp.
struct Opening {
  /// What stands before the word: nothing, a number or a bullet (`1. 问：`), `###`.
  enum class Form : uint8_t { kPlain, kListed, kHeading };

  std::string word;
  size_t end = 0;  // behind the mark: the turn's text begins here
  Form form = Form::kPlain;
};

/// The opening at `begin`, which is no blank.
std::optional<Opening> opening_at(std::string_view line, size_t begin);
/// The places behind a blank or the end of a sentence, and before `###`, where a turn may begin
/// inside a line.
std::vector<size_t> places_inside(std::string_view line, size_t from);
size_t leading_blanks(std::string_view line);

}  // namespace lora_dist
