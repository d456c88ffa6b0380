// Components of tokenizer.json's `normalizer`: what is done to a text before it is cut.
#pragma once

#include "data/tokenizers/json_view.hpp"
#include "data/tokenizers/piece.hpp"

namespace lora_dist {

/// Errors  ModelError: a component or member that is not known.
Normalizer make_normalizer(const JsonView& spec);

}  // namespace lora_dist
