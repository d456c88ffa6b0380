// UTF-8 by hand, and the few Unicode properties a tokenizer asks for.
#pragma once

#include <string>
#include <string_view>

namespace lora_dist {

/// `bytes` with every invalid sequence replaced by U+FFFD, one per maximal valid prefix (Unicode
/// 15, section 3.9, as Rust's from_utf8_lossy does).
std::string lossy_utf8(std::string_view bytes);
/// Length in bytes of the character at text[pos] of valid UTF-8.
size_t char_bytes(std::string_view text, size_t pos);
/// The character at text[pos] of valid UTF-8.
char32_t char_at(std::string_view text, size_t pos);
void append_utf8(std::string& text, char32_t character);

/// Unicode's White_Space.
bool is_space(char32_t character);
/// Bytes of white space that `text` begins or ends with.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

bool is_ascii(std::string_view text);

}  // namespace lora_dist
