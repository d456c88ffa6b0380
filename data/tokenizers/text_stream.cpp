#include "data/tokenizers/text_stream.hpp"

namespace lora_dist {

std::string TextStream::add(TokenId id) {
  ids_.push_back(id);
  const std::string known = decode_from(context_, given_);
  const std::string text = decode_from(context_, ids_.size());
  if (text.size() <= known.size() || text.ends_with("\uFFFD")) return {};
  context_ = given_;
  given_ = ids_.size();
  return text.substr(known.size());
}

std::string TextStream::finish() {
  const std::string known = decode_from(context_, given_);
  const std::string text = decode_from(context_, ids_.size());
  context_ = given_ = ids_.size();
  return text.size() > known.size() ? text.substr(known.size()) : std::string();
}

std::string TextStream::decode_from(size_t begin, size_t end) const {
  return tokenizer_.decode({ids_.begin() + static_cast<std::ptrdiff_t>(begin),
                            ids_.begin() + static_cast<std::ptrdiff_t>(end)},
                           /*skip_special_tokens=*/true);
}

}  // namespace lora_dist
