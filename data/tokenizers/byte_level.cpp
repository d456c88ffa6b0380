#include "data/tokenizers/byte_level.hpp"

#include <array>

#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

struct Alphabet {
  std::array<std::string, 256> letters;  // [byte]
  std::array<int, 512> bytes;            // [character]; -1: no letter

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool prints =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t letter = prints ? byte : next++;
      append_utf8(letters[byte], letter);
      bytes[letter] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string spell_bytes(std::string_view text) {
  const Alphabet& known = alphabet();
  std::string spelling;
  spelling.reserve(text.size() * 2);
  for (const unsigned char byte : text) spelling += known.letters[byte];
  return spelling;
}

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
  const Alphabet& known = alphabet();
  std::string bytes;
  bytes.reserve(spelling.size());
  for (size_t pos = 0; pos < spelling.size(); pos += char_bytes(spelling, pos)) {
    const char32_t letter = char_at(spelling, pos);
    if (letter >= known.bytes.size() || known.bytes[letter] < 0) return std::nullopt;
    bytes += static_cast<char>(known.bytes[letter]);
  }
  return bytes;
}

}  // namespace lora_dist
