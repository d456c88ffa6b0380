// How a run lays out a prompt, shown and compared with what the base model says.
#pragma once

#include <string>

#include "data/templates/template.hpp"

namespace lora_dist {

struct PromptLayout {
  std::string question, prompt;  // an example, and the text that the model is given for it
  bool is_of_base = true;        // no contradiction to the base's own chat template
};

/// `used` is the template of the run. The base's own is what `template: auto` makes of
/// `tokenizer`'s files; the two agree where they lay out conversations of every shape alike.
PromptLayout describe_layout(const PromptTemplate& used, const Tokenizer& tokenizer);

}  // namespace lora_dist
