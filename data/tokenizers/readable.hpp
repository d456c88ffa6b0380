// A token as a person reads it.
#pragma once

#include <string>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

/// The text of a token in quotation marks: white space and control characters escaped, bytes of a
/// character that other tokens complete as \xE5.
std::string readable_piece(TokenId id, const Tokenizer& tokenizer);

}  // namespace lora_dist
