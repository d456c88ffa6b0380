// The alphabet of byte-level BPE: one printable letter for each of the 256 bytes, as GPT-2 chose
// them. Bytes that print keep their own character, the others (space, control characters, 0x7F to
// 0xA0, 0xAD) get those from U+0100 on: a space is "Ġ".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lora_dist {

/// Spells the bytes of `text`.
std::string spell_bytes(std::string_view text);
/// The bytes that `spelling` stands for; nothing where a character is not of the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

}  // namespace lora_dist
