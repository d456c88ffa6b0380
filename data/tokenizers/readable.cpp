#include "data/tokenizers/readable.hpp"

#include <fmt/format.h>

#include "data/io/printable.hpp"
#include "data/tokenizers/byte_level.hpp"

namespace lora_dist {
namespace {

constexpr std::string_view kUnknownBytes = "\uFFFD", kSpaceMark = "▁";

std::string as_bytes(const std::string& piece) {
  if (piece.starts_with("<0x") && piece.size() == 6) return "\\x" + piece.substr(3, 2);
  std::string shown;
  for (const unsigned char byte : bytes_of_spelling(piece).value_or(piece))
    shown += byte >= 0x20 && byte < 0x7f ? std::string(1, static_cast<char>(byte))
                                         : fmt::format("\\x{:02X}", byte);
  return shown;
}

}  // namespace

std::string readable_piece(TokenId id, const Tokenizer& tokenizer) {
  const std::string piece = tokenizer.piece(id);
  std::string text = tokenizer.decode({id}, /*skip_special_tokens=*/false);
  if (text.find(kUnknownBytes) != std::string::npos &&
      piece.find(kUnknownBytes) == std::string::npos)
    return '"' + as_bytes(piece) + '"';
  // A decoder takes the space off the first token of a text.
  if (piece.starts_with(kSpaceMark) && !text.starts_with(' ')) text.insert(0, " ");
  std::string shown;
  for (const char c : text) {
    if (c == '\n')
      shown += "\\n";
    else if (c == '\t')
      shown += "\\t";
    else
      shown += c;
  }
  return '"' + printable(shown, shown.size()) + '"';
}

}  // namespace lora_dist
