// The text of ids that come one by one.
#pragma once

#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

/// Gives out text as soon as no further token can change it: never half a character, and with the
/// white space that a token has behind others. Special tokens are left out.
class TextStream {
 public:
  /// `tokenizer` must outlive it.
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// What `id` completes; may be empty.
  std::string add(TokenId id);
  /// What is left, half a character as U+FFFD.
  std::string finish();

 private:
  std::string decode_from(size_t begin, size_t end) const;

  const Tokenizer& tokenizer_;
  std::vector<TokenId> ids_;
  // Ids before `given_` were given out; decoding begins at `context_`, some ids earlier, because
  // the first token of a text may lose its white space.
  size_t context_ = 0, given_ = 0;
};

}  // namespace lora_dist
