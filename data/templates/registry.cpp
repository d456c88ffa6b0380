#include "core/base/registry.hpp"

#include "data/templates/template.hpp"

namespace lora_dist {

#define LORA_DIST_TEMPLATE(name) \
  std::unique_ptr<PromptTemplate> make_##name##_template(const Tokenizer& tokenizer);
#include "data/templates/templates.def"
#undef LORA_DIST_TEMPLATE

std::unique_ptr<PromptTemplate> make_template(const std::string& name, const Tokenizer& tokenizer) {
  static const Registry<std::unique_ptr<PromptTemplate> (*)(const Tokenizer&)> registry("template",
                                                                                        {
#define LORA_DIST_TEMPLATE(name) {#name, make_##name##_template},
#include "data/templates/templates.def"
#undef LORA_DIST_TEMPLATE
                                                                                        });
  return registry.at(name)(tokenizer);
}

}  // namespace lora_dist
