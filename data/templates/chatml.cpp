// ChatML, the form of Qwen and many others: <|im_start|>role, newline, content, <|im_end|>,
// newline.
//
// Unlike Qwen2.5's own template no system turn is made up where the record has none, and unlike
// Qwen3's no empty <think> block is put before an answer. No BOS.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::vector<Chunk> lay_out_chatml(const LayoutRequest& request) {
  std::vector<Chunk> chunks;
  for (const Message& message : request.messages) {
    const Learn learn = learn_of(message);
    chunks.push_back({.segments = {{"<|im_start|>" + message.role + "\n", Learn::kPrompt},
                                   {full_content(message) + "<|im_end|>", learn},
                                   {"\n", Learn::kPrompt}}});
  }
  if (request.for_prompt)
    chunks.push_back({.segments = {{"<|im_start|>assistant\n", Learn::kPrompt}}});
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_chatml_template(const Tokenizer& tokenizer) {
  return make_family_template({.name = "chatml",
                               .layout = lay_out_chatml,
                               .markers = {"<|im_start|>", "<|im_end|>"},
                               .end_of_turn = "<|im_end|>"},
                              tokenizer);
}

}  // namespace lora_dist
