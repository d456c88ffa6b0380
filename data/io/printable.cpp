#include "data/io/printable.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <span>
#include <vector>

namespace lora_dist {
namespace {

/// Bytes of the character at the start of `text`, or 0 where it is not UTF-8.
size_t character_bytes(std::string_view text) {
  utf8proc_int32_t code_point = 0;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  return length < 0 ? 0 : static_cast<size_t>(length);
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20 || first == 0x7f) return true;
  // U+0080 to U+009F: some terminals obey them.
  return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  std::string result;
  size_t position = 0;
  while (position < text.size()) {
    const size_t bytes = character_bytes(text.substr(position));
    if (position + (bytes > 0 ? bytes : 1) > max_bytes) return result + "...";
    const std::string_view character = text.substr(position, bytes > 0 ? bytes : 1);
    if (bytes == 0 || is_control(character)) {
      for (const char byte : character)
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      result += character;
    }
    position += character.size();
  }
  return result;
}

namespace {

struct Glyph {
  std::string text;
  size_t columns = 0;
};

Glyph glyph_of(std::string_view character, bool is_valid) {
  if (character == "\n") return {"\\n", 2};
  if (character == "\t") return {"\\t", 2};
  if (character == "\r") return {"\\r", 2};
  if (!is_valid || is_control(character)) {
    const std::string escaped = printable(character);
    return {escaped, escaped.size()};
  }
  utf8proc_int32_t code_point = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(character.data()),
                   static_cast<utf8proc_ssize_t>(character.size()), &code_point);
  return {std::string(character), static_cast<size_t>(utf8proc_charwidth(code_point))};
}

std::string joined(std::span<const Glyph> glyphs) {
  std::string text;
  for (const Glyph& glyph : glyphs) text += glyph.text;
  return text;
}

}  // namespace

std::string one_line(std::string_view text, size_t columns) {
  constexpr std::string_view kGap = " ... ";
  std::vector<Glyph> glyphs;
  size_t width = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t bytes = character_bytes(text.substr(position));
    glyphs.push_back(glyph_of(text.substr(position, std::max(bytes, size_t{1})), bytes > 0));
    width += glyphs.back().columns;
    position += std::max(bytes, size_t{1});
  }
  if (width <= columns) return joined(glyphs);
  const size_t room = columns - std::min(columns, kGap.size());
  const auto fitting = [](auto first, auto last, size_t room) {
    size_t used = 0;
    return std::find_if(first, last,
                        [&](const Glyph& glyph) { return (used += glyph.columns) > room; }) -
           first;
  };
  const auto num_tail = fitting(glyphs.rbegin(), glyphs.rend(), room / 3);
  const auto num_head = fitting(glyphs.begin(), glyphs.end(), room - room / 3);
  const std::span all(glyphs);
  return joined(all.first(num_head)) + std::string(kGap) + joined(all.last(num_tail));
}

size_t first_invalid_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      ++position;
      continue;
    }
    const size_t bytes = character_bytes(text.substr(position));
    if (bytes == 0) return position;
    position += bytes;
  }
  return std::string_view::npos;
}

}  // namespace lora_dist
