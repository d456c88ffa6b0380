#include "data/tokenizers/unicode.hpp"

#include <algorithm>

namespace lora_dist {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

struct Sequence {
  size_t bytes;  // of the character, or of the valid prefix of a broken one (at least 1)
  bool valid;
};

/// Table 3-7 of the Unicode standard: the second byte's range depends on the first.
Sequence sequence_at(std::string_view bytes, size_t pos) {
  const unsigned char first = bytes[pos];
  if (first < 0x80) return {1, true};
  const size_t length = first < 0xC2   ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 0) return {1, false};
  const unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (pos + i >= bytes.size()) return {i, false};
    const unsigned char byte = bytes[pos + i];
    if (i == 1 ? byte < low || byte > high : !is_continuation(byte)) return {i, false};
  }
  return {length, true};
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char byte) { return byte < 0x80; });
}

std::string lossy_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t pos = 0; pos < bytes.size();) {
    const Sequence sequence = sequence_at(bytes, pos);
    text.append(sequence.valid ? bytes.substr(pos, sequence.bytes) : kReplacement);
    pos += sequence.bytes;
  }
  return text;
}

size_t char_bytes(std::string_view text, size_t pos) {
  const unsigned char first = text[pos];
  return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

char32_t char_at(std::string_view text, size_t pos) {
  const size_t length = char_bytes(text, pos);
  const unsigned char first = text[pos];
  if (length == 1) return first;
  char32_t result = first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i)
    result = result << 6 | (static_cast<unsigned char>(text[pos + i]) & 0x3F);
  return result;
}

void append_utf8(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | c >> 12);
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | c >> 18);
    text += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

size_t leading_space(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size() && is_space(char_at(text, pos))) pos += char_bytes(text, pos);
  return pos;
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && is_continuation(text[begin])) --begin;
    if (!is_space(char_at(text, begin))) break;
    end = begin;
  }
  return text.size() - end;
}

}  // namespace lora_dist
