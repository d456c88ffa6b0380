#include "launcher/config_words.hpp"

#include "core/config/words.hpp"
#include "data/sources/source_format.hpp"
#include "data/templates/template.hpp"
#include "dist/backends/backend.hpp"

namespace lora_dist {

void teach_config_words() {
  config::learn_words("data_format", config::words_of(source_formats()));
  config::learn_words("template", config::words_of(prompt_templates()));
  config::learn_words("backend", config::words_of(backends()));
}

}  // namespace lora_dist
