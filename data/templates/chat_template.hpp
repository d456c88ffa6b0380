// The base model's own chat template as a prompt template.
#pragma once

#include <memory>

#include "data/templates/jinja/syntax.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

/// Errors  jinja::Failure: a part of the language that is not known here, or a template that cannot
/// lay out a question and its answer.
std::unique_ptr<PromptTemplate> execute_chat_template(const Tokenizer& tokenizer);

}  // namespace lora_dist
