// Llama-2-chat and Mistral-Instruct v0.1: every exchange is <s>[INST] question [/INST] answer </s>,
// a system text stands in
// <<SYS>> marks before the first question.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::vector<Chunk> lay_out_llama2(const LayoutRequest& request) {
  const Dialogue dialogue = as_dialogue(request);
  std::vector<Chunk> chunks;
  for (const Exchange& exchange : dialogue.exchanges) {
    std::string question = full_content(*exchange.user);
    if (chunks.empty() && !dialogue.system.empty())
      question = "<<SYS>>\n" + dialogue.system + "\n<</SYS>>\n\n" + question;
    Chunk chunk{.segments = {{request.bos, Learn::kNever},
                             {"[INST] " + stripped(question) + " [/INST]", Learn::kPrompt}}};
    if (exchange.assistant)
      chunk.segments.push_back({" " + stripped(exchange.assistant->content) + " " + request.eos,
                                learn_of(*exchange.assistant)});
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_llama2_template(const Tokenizer& tokenizer) {
  return make_family_template(
      {.name = "llama2", .layout = lay_out_llama2, .markers = {}, .end_of_turn = {}}, tokenizer);
}

}  // namespace lora_dist
