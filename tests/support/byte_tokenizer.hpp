// A tokenizer whose ids can be computed in the head: a byte's value plus 3, behind pad 0, BOS 1 and
// EOS 2.
#pragma once

#include <string>
#include <vector>

#include "data/templates/template.hpp"
#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kPad = 0, kBos = 1, kEos = 2, kFirstByte = 3;

  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens) const override;
  std::string decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const override;
  std::string piece(TokenId id) const override {
    return decode({id}, /*skip_special_tokens=*/false);
  }
  int64_t vocab_size() const override { return kFirstByte + 256; }
  TokenId bos_id() const override { return kBos; }
  TokenId eos_id() const override { return kEos; }
  TokenId pad_id() const override { return kPad; }
  TokenId id_of(std::string_view piece) const override;
  const std::string& chat_template() const override { return none_; }
  const std::string& sha256() const override { return sha256_; }

 private:
  std::string none_;
  std::string sha256_ = "byte tokenizer";
};

/// BOS, each turn's bytes, EOS behind every answer; answers and their EOS are learnt.
class ByteTemplate : public PromptTemplate {
 public:
  std::string name() const override { return "bytes"; }
  Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                         bool train_on_prompt) const override;
  std::vector<TokenId> encode_prompt(const std::vector<Message>& messages,
                                     const Tokenizer& tokenizer) const override;
  std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const override {
    return {tokenizer.eos_id()};
  }
  std::string sha256() const override { return "byte template"; }
};

}  // namespace lora_dist
