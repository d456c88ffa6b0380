// Stanford Alpaca's prompt: a sentence of introduction (or the record's system text), then blocks
// with headers.
//
// The first question has the introduction and the tokenizer's BOS; every answer ends with EOS, and
// a further question of the same conversation begins with its own block.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::string introduction(bool has_input) {
  return has_input ? "Below is an instruction that describes a task, paired with an input that "
                     "provides further context. "
                     "Write a response that appropriately completes the request."
                   : "Below is an instruction that describes a task. "
                     "Write a response that appropriately completes the request.";
}

std::string question(const Message& user) {
  std::string text = "### Instruction:\n" + user.content + "\n\n";
  if (!user.input.empty()) text += "### Input:\n" + user.input + "\n\n";
  return text + "### Response:\n";
}

std::vector<Chunk> lay_out_alpaca(const LayoutRequest& request) {
  const Dialogue dialogue = as_dialogue(request);
  std::vector<Chunk> chunks;
  for (const Exchange& exchange : dialogue.exchanges) {
    const bool is_first = chunks.empty();
    std::string prompt = question(*exchange.user);
    if (is_first) {
      const std::string opening =
          dialogue.system.empty() ? introduction(!exchange.user->input.empty()) : dialogue.system;
      prompt = opening + "\n\n" + prompt;
    }
    Chunk chunk{.segments = {{prompt, Learn::kPrompt}},
                .with_special_tokens = is_first,
                .ends_with_eos = exchange.assistant != nullptr};
    if (exchange.assistant)
      chunk.segments.push_back({exchange.assistant->content, learn_of(*exchange.assistant)});
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_alpaca_template(const Tokenizer& tokenizer) {
  return make_family_template(
      {.name = "alpaca", .layout = lay_out_alpaca, .markers = {}, .end_of_turn = {}}, tokenizer);
}

}  // namespace lora_dist
