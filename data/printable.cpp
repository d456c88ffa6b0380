#include "data/printable.hpp"

#include <utf8proc.h>

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
