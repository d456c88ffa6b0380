#include "tests/support/byte_tokenizer.hpp"

namespace lora_dist {

std::vector<TokenId> ByteTokenizer::encode(std::string_view text, bool add_special_tokens) const {
  std::vector<TokenId> ids;
  if (add_special_tokens) ids.push_back(kBos);
  for (const char byte : text) ids.push_back(kFirstByte + static_cast<unsigned char>(byte));
  return ids;
}

std::string ByteTokenizer::decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  static constexpr const char* kSpecial[] = {"<pad>", "<s>", "</s>"};
  std::string text;
  for (const TokenId id : ids) {
    if (id >= kFirstByte)
      text += static_cast<char>(id - kFirstByte);
    else if (!skip_special_tokens)
      text += kSpecial[id];
  }
  return text;
}

TokenId ByteTokenizer::id_of(std::string_view piece) const {
  for (TokenId id = 0; id < vocab_size(); ++id)
    if (this->piece(id) == piece) return id;
  return -1;
}

Tokens ByteTemplate::encode_training(const std::vector<Message>& messages,
                                     const Tokenizer& tokenizer, bool train_on_prompt) const {
  Tokens tokens{{tokenizer.bos_id()}, {0}};
  for (const Message& message : messages) {
    std::vector<TokenId> ids = tokenizer.encode(message.content, /*add_special_tokens=*/false);
    const bool answer = message.role == "assistant";
    if (answer) ids.push_back(tokenizer.eos_id());
    tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
    tokens.loss_mask.insert(tokens.loss_mask.end(), ids.size(),
                            answer ? message.learn : train_on_prompt);
  }
  return tokens;
}

std::vector<TokenId> ByteTemplate::encode_prompt(const std::vector<Message>& messages,
                                                 const Tokenizer& tokenizer) const {
  return encode_training(messages, tokenizer, /*train_on_prompt=*/false).ids;
}

}  // namespace lora_dist
