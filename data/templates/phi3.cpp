// Phi-3: <|role|>, newline, content, <|end|>, newline; EOS behind the whole conversation. No BOS.
// The answer ends with
// <|end|>, which is learnt; the EOS that closes the conversation is not, a model stops before it.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::vector<Chunk> lay_out_phi3(const LayoutRequest& request) {
  std::vector<Chunk> chunks;
  for (const Message& message : request.messages) {
    const Learn learn = learn_of(message);
    chunks.push_back({.segments = {{"<|" + message.role + "|>\n", Learn::kPrompt},
                                   {full_content(message) + "<|end|>", learn},
                                   {"\n", Learn::kPrompt}}});
  }
  chunks.push_back(
      {.segments = {{request.for_prompt ? "<|assistant|>\n" : request.eos, Learn::kPrompt}}});
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_phi3_template(const Tokenizer& tokenizer) {
  return make_family_template({.name = "phi3",
                               .layout = lay_out_phi3,
                               .markers = {"<|user|>", "<|assistant|>", "<|end|>"},
                               .end_of_turn = "<|end|>"},
                              tokenizer);
}

}  // namespace lora_dist
