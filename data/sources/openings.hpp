// What may open a turn in a line of a plain-text dialogue: a name and what marks it as one, whoever
// it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lora_dist {

/// Who says a turn. kInput is the part of the user's turn that `### Input:` heads in Alpaca's text.
enum class Speaker : uint8_t { kUser, kAssistant, kSystem, kInput };

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

std::string lower_case(std::string_view text);
/// Without the number behind it: "user 2" is a user, "客户A" a customer.
std::string_view without_number(std::string_view key);
/// Of a word in lower case.
std::optional<Speaker> known_role(std::string_view key);
/// Words before a colon that head a text and are no speakers, also with a number ("Step 2").
bool is_heading(std::string_view key);
/// Words that open the text of Alpaca's prompt.
bool opens_instruction(std::string_view key);
/// A known word of at least two Chinese characters at the start of a line. Bare words are taken in
/// Chinese only, where a colon goes missing in copying; "User friendly" opens no turn.
std::string known_bare_word(std::string_view line);

}  // namespace lora_dist
