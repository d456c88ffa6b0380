// A tokenizer with another chat template than its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

class ChatTokenizer : public Tokenizer {
 public:
  ChatTokenizer(std::unique_ptr<Tokenizer> base, std::string chat)
      : base_(std::move(base)), chat_(std::move(chat)) {}

  std::vector<TokenId> encode(std::string_view text, bool add_special_tokens) const override {
    return base_->encode(text, add_special_tokens);
  }
  std::string decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const override {
    return base_->decode(ids, skip_special_tokens);
  }
  std::string piece(TokenId id) const override { return base_->piece(id); }
  int64_t vocab_size() const override { return base_->vocab_size(); }
  TokenId bos_id() const override { return base_->bos_id(); }
  TokenId eos_id() const override { return base_->eos_id(); }
  TokenId pad_id() const override { return base_->pad_id(); }
  TokenId end_id() const override { return base_->end_id(); }
  bool ends_text(TokenId id) const override { return base_->ends_text(id); }
  TokenId id_of(std::string_view piece) const override { return base_->id_of(piece); }
  const std::string& chat_template() const override { return chat_; }
  const std::string& sha256() const override { return base_->sha256(); }

 private:
  std::unique_ptr<Tokenizer> base_;
  std::string chat_;
};

}  // namespace lora_dist
