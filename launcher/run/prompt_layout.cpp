#include "launcher/run/prompt_layout.hpp"

#include <vector>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

constexpr const char* kQuestion = "What is the capital of France?";

// One question, a conversation, a system turn: where families differ.
const std::vector<std::vector<Message>>& example_conversations() {
  static const std::vector<std::vector<Message>> conversations = {
      {{"user", kQuestion}, {"assistant", "Paris."}},
      {{"user", kQuestion},
       {"assistant", "Paris."},
       {"user", "And of Italy?"},
       {"assistant", "Rome."}},
      {{"system", "Answer in one word."}, {"user", kQuestion}, {"assistant", "Paris"}}};
  return conversations;
}

// Nothing where the template refuses such a conversation.
std::vector<TokenId> ids_of(const PromptTemplate& laid_out_by, const std::vector<Message>& messages,
                            const Tokenizer& tokenizer) {
  try {
    return laid_out_by.encode_training(messages, tokenizer, /*train_on_prompt=*/false).ids;
  } catch (const Error&) {
    return {};
  }
}

bool agree(const PromptTemplate& a, const PromptTemplate& b, const Tokenizer& tokenizer) {
  for (const std::vector<Message>& messages : example_conversations())
    if (ids_of(a, messages, tokenizer) != ids_of(b, messages, tokenizer)) return false;
  return true;
}

}  // namespace

PromptLayout describe_layout(const PromptTemplate& used, const Tokenizer& tokenizer) {
  PromptLayout layout{.question = kQuestion};
  layout.prompt = tokenizer.decode(used.encode_prompt({{"user", kQuestion}}, tokenizer),
                                   /*skip_special_tokens=*/false);
  layout.is_of_base = tokenizer.chat_template().empty() ||
                      agree(used, *make_template("auto", tokenizer), tokenizer);
  return layout;
}

}  // namespace lora_dist
