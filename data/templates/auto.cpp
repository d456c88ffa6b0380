// The template that the base model was made with, told by the markers in its chat template.
#include <algorithm>
#include <array>

#include "core/log.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {
namespace {

struct Family {
  const char* name;
  std::array<const char*, 2> markers;  // all of them occur; an empty one always does
};

// Looked through in this order.
constexpr Family kFamilies[] = {{"chatml", {"<|im_start|>", ""}},
                                {"llama3", {"<|start_header_id|>", ""}},
                                {"gemma", {"<start_of_turn>", ""}},
                                {"phi3", {"<|user|>", "<|end|>"}},
                                {"llama2", {"[INST]", ""}}};

}  // namespace

std::unique_ptr<PromptTemplate> make_auto_template(const Tokenizer& tokenizer) {
  const std::string& chat = tokenizer.chat_template();
  for (const Family& family : kFamilies) {
    const bool found =
        std::all_of(family.markers.begin(), family.markers.end(),
                    [&](const char* marker) { return chat.find(marker) != std::string::npos; });
    if (found) return make_template(family.name, tokenizer);
  }
  if (!chat.empty())
    log_warning(
        "the chat template of the base model is of no known family; using template: alpaca");
  return make_template("alpaca", tokenizer);
}

}  // namespace lora_dist
