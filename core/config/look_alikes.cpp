#include "core/config/look_alikes.hpp"

#include <array>

#include <fmt/format.h>

namespace lora_dist::config {
namespace {

struct Row {
  char32_t code;
  std::string_view meant;
  std::string_view kind;
};

constexpr std::array kRows = {
    Row{0x00A0, " ", "no-break blank"},
    Row{0x2002, " ", "wide blank"},
    Row{0x2003, " ", "wide blank"},
    Row{0x200B, "", "blank of no width"},
    Row{0x2060, "", "blank of no width"},
    Row{0xFEFF, "", "byte-order mark"},
    Row{0x2013, "-", "dash"},
    Row{0x2014, "-", "dash"},
    Row{0x2212, "-", "minus sign"},
    Row{0x2018, "'", "curly"},
    Row{0x2019, "'", "curly"},
    Row{0x201C, "\"", "curly"},
    Row{0x201D, "\"", "curly"},
    Row{0x3000, " ", "full-width blank"},
    Row{0x3001, ",", "full-width"},
    Row{0x3002, ".", "full-width"},
    Row{0x3010, "[", "full-width"},
    Row{0x3011, "]", "full-width"},
};

struct Character {
  char32_t code = 0;
  size_t length = 1;
};

/// The character at `at`; the text is known to be UTF-8.
Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> char32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {0, 4};  // nothing beyond the first plane looks like ASCII here
}

std::optional<LookAlike> look_alike(std::string_view text, size_t at, const Character& character) {
  const std::string written(text.substr(at, character.length));
  const char32_t code = character.code;
  if (code >= 0xFF01 && code <= 0xFF5E)  // the full-width forms of ASCII, in its order
    return LookAlike{written, std::string(1, static_cast<char>(code - 0xFEE0)), "full-width"};
  for (const Row& row : kRows)
    if (row.code == code) return LookAlike{written, std::string(row.meant), std::string(row.kind)};
  return std::nullopt;
}

}  // namespace

std::optional<LookAlike> leading_look_alike(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return look_alike(text, 0, character_at(text, 0));
}

std::optional<LookAlike> first_look_alike(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    if (auto found = look_alike(text, at, character)) return found;
    at += character.length;
  }
  return std::nullopt;
}

std::string without_look_alikes(std::string_view text) {
  std::string meant;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const auto found = look_alike(text, at, character);
    meant += found ? found->meant : std::string(text.substr(at, character.length));
    at += character.length;
  }
  return meant;
}

std::string shown(const LookAlike& found) {
  const bool invisible = found.meant.empty() || found.meant == " ";
  return invisible ? fmt::format("{} U+{:04X}", found.kind,
                                 static_cast<uint32_t>(character_at(found.character, 0).code))
                   : fmt::format("{} '{}'", found.kind, found.character);
}

}  // namespace lora_dist::config
