// Components of tokenizer.json's `pre_tokenizer`: how a text is cut into the pieces that BPE works
// on.
#pragma once

#include "data/tokenizers/json_view.hpp"
#include "data/tokenizers/piece.hpp"

namespace lora_dist {

/// Errors  ModelError: a component or member that is not known.
PreTokenizer make_pre_tokenizer(const JsonView& spec);

}  // namespace lora_dist
