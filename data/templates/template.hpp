// From the turns of a record to token ids with a mask of what is learnt.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

struct Message {
  std::string role;  // system | user | assistant
  std::string content;
};

/// One rendered sample. loss_mask[i] is 1 where token i is to be predicted by the position before it.
struct Tokens {
  std::vector<TokenId> ids;
  std::vector<uint8_t> loss_mask;
};

class PromptTemplate {
 public:
  virtual ~PromptTemplate() = default;
  virtual std::string name() const = 0;

  /// Ids of a conversation that ends with an assistant turn. Assistant turns and the end-of-turn (EOS) token after
  /// them are learnt; with `train_on_prompt` everything but BOS is.
  virtual Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                                 bool train_on_prompt) const = 0;
  /// Ids of a conversation that ends with a user turn, with the header of the answer that the model is to write.
  virtual std::vector<TokenId> encode_prompt(const std::vector<Message>& messages, const Tokenizer& tokenizer) const = 0;
  /// Ids that end an answer: EOS and the template's own end-of-turn token.
  virtual std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const = 0;
  /// Goes into the fingerprint of prepared data.
  virtual std::string sha256() const = 0;
};

/// `name` is auto, alpaca, llama2, llama3, chatml or plain. auto recognises the tokenizer's chat template and falls back to
/// alpaca. Errors  ConfigError with the known names.
std::unique_ptr<PromptTemplate> make_template(const std::string& name, const Tokenizer& tokenizer);

}  // namespace lora_dist
