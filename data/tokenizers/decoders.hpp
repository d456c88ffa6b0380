// Components of tokenizer.json's `decoder`: from spellings of tokens back to text.
#pragma once

#include "data/tokenizers/json_view.hpp"
#include "data/tokenizers/piece.hpp"

namespace lora_dist {

/// Errors  ModelError: a component or member that is not known.
PartDecoder make_decoder(const JsonView& spec);

}  // namespace lora_dist
