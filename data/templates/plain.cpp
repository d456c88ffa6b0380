// No words of our own: the contents of the turns, each on a line of its own, an EOS after each
// answer.
//
// The newline between a question and its answer belongs to the answer and is learnt. So the bare
// text of a question is a prompt that an adapter answers, also in programs that know nothing of
// templates; ours write the newline too.
#include "data/templates/layout.hpp"

namespace lora_dist {
namespace {

std::vector<Chunk> lay_out_plain(const LayoutRequest& request) {
  const Dialogue dialogue = as_dialogue(request);
  std::vector<Chunk> chunks;
  for (const Exchange& exchange : dialogue.exchanges) {
    const bool is_first = chunks.empty();
    std::string prompt = full_content(*exchange.user);
    if (is_first && !dialogue.system.empty()) prompt = dialogue.system + "\n" + prompt;
    if (!is_first) prompt = "\n" + prompt;
    const std::string answer =
        "\n" + (exchange.assistant ? exchange.assistant->content : std::string());
    const Learn learn = exchange.assistant ? learn_of(*exchange.assistant) : Learn::kAnswer;
    chunks.push_back({.segments = {{prompt, Learn::kPrompt}, {answer, learn}},
                      .with_special_tokens = is_first,
                      .ends_with_eos = exchange.assistant != nullptr});
  }
  return chunks;
}

}  // namespace

std::unique_ptr<PromptTemplate> make_plain_template(const Tokenizer& tokenizer) {
  return make_family_template(
      {.name = "plain", .layout = lay_out_plain, .markers = {}, .end_of_turn = {}}, tokenizer);
}

}  // namespace lora_dist
