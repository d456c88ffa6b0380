// The words by which a plain-text dialogue names its speakers, and those that only look like it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lora_dist {

/// Who says a turn. kInput is the part of the user's turn that `### Input:` heads in Alpaca's text.
enum class Speaker : uint8_t { kUser, kAssistant, kSystem, kInput };

bool is_digit(char c);
bool is_upper(char c);
bool is_letter(char c);
/// Without what stands in brackets behind it: "Bob (Sales)", "客服（小王）".
std::string_view without_remark(std::string_view word);

std::string lower_case(std::string_view text);
/// Without the number or the remark in brackets behind it: "user 2" is a user, "客户A" and
/// "客户（女）" are customers.
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
