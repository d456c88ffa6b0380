// Gemma: BOS once, then <start_of_turn>role, newline, the trimmed content, <end_of_turn>, newline.
// The assistant is called "model"; a system text goes before the first question, as in Gemma 3.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::vector<Chunk> lay_out_gemma(const LayoutRequest& request) {
  const Dialogue dialogue = as_dialogue(request);
  std::vector<Chunk> chunks;
  const auto add_turn = [&](const std::string& role, const std::string& content, Learn learn) {
    chunks.push_back({.segments = {{"<start_of_turn>" + role + "\n", Learn::kPrompt},
                                   {content + "<end_of_turn>", learn},
                                   {"\n", Learn::kPrompt}}});
  };
  for (const Exchange& exchange : dialogue.exchanges) {
    const std::string opening =
        chunks.empty() && !dialogue.system.empty() ? dialogue.system + "\n\n" : "";
    add_turn("user", opening + stripped(full_content(*exchange.user)), Learn::kPrompt);
    if (exchange.assistant)
      add_turn("model", stripped(exchange.assistant->content), learn_of(*exchange.assistant));
  }
  chunks.front().segments.insert(chunks.front().segments.begin(),
                                 Segment{request.bos, Learn::kNever});
  if (request.for_prompt)
    chunks.push_back({.segments = {{"<start_of_turn>model\n", Learn::kPrompt}}});
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_gemma_template(const Tokenizer& tokenizer) {
  return make_family_template({.name = "gemma",
                               .layout = lay_out_gemma,
                               .markers = {"<start_of_turn>", "<end_of_turn>"},
                               .end_of_turn = "<end_of_turn>"},
                              tokenizer);
}

}  // namespace lora_dist
