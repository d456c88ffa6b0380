// Components of tokenizer.json's `post_processor`: BOS, EOS and their like around a text.
#pragma once

#include "data/tokenizers/json_view.hpp"
#include "data/tokenizers/piece.hpp"

namespace lora_dist {

/// Errors  ModelError: a component that is not known, a template that is not "ids, the text once,
/// ids".
PostProcessor make_post_processor(const JsonView& spec);

}  // namespace lora_dist
