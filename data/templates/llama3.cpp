// Llama-3: BOS once, then <|start_header_id|>role<|end_header_id|>, two newlines, the trimmed
// content, <|eot_id|>.
//
// As the template of Llama-3; the system turn with today's date that Llama-3.1 and later add is
// left out, it would make the ids of a data set depend on the day.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

Segment header(const std::string& role) {
  return {"<|start_header_id|>" + role + "<|end_header_id|>\n\n", Learn::kPrompt};
}

std::vector<Chunk> lay_out_llama3(const LayoutRequest& request) {
  std::vector<Chunk> chunks;
  for (const Message& message : request.messages) {
    const Learn learn = learn_of(message);
    Chunk chunk{.segments = {header(message.role),
                             {stripped(full_content(message)) + "<|eot_id|>", learn}}};
    if (chunks.empty())
      chunk.segments.insert(chunk.segments.begin(), Segment{request.bos, Learn::kNever});
    chunks.push_back(std::move(chunk));
  }
  if (request.for_prompt) chunks.push_back({.segments = {header("assistant")}});
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_llama3_template(const Tokenizer& tokenizer) {
  return make_family_template(
      {.name = "llama3",
       .layout = lay_out_llama3,
       .markers = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
       .end_of_turn = "<|eot_id|>"},
      tokenizer);
}

}  // namespace lora_dist
