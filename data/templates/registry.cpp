#include "data/templates/template.hpp"

namespace lora_dist {

#define LORA_DIST_TEMPLATE(name) \
  std::unique_ptr<PromptTemplate> make_##name##_template(const Tokenizer& tokenizer);
#include "data/templates/templates.def"
#undef LORA_DIST_TEMPLATE

const Registry<TemplateFactory>& prompt_templates() {
  static const Registry<TemplateFactory> registry("template", {
#define LORA_DIST_TEMPLATE(name) {#name, make_##name##_template},
#include "data/templates/templates.def"
#undef LORA_DIST_TEMPLATE
                                                              });
  return registry;
}

std::unique_ptr<PromptTemplate> make_template(const std::string& name, const Tokenizer& tokenizer) {
  return prompt_templates().at(name)(tokenizer);
}

}  // namespace lora_dist
