// Tokens that are looked for in the text itself, before BPE: <s>, <|im_start|>, runs of newlines.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "data/tokenizers/json_view.hpp"
#include "data/tokenizers/piece.hpp"

namespace lora_dist {

struct AddedToken {
  TokenId id = kNoToken;
  std::string content;
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for after the normalizer, in its own normalized form
  bool special = false;      // left out by decode(skip_special_tokens)
};

/// An entry of `added_tokens` (tokenizer.json) or of `added_tokens_decoder` (tokenizer_config.json,
/// where the id is the key).
AddedToken read_added_token(const JsonView& spec, TokenId id);

class AddedTokens {
 public:
  AddedTokens() = default;
  /// Contents and ids are unique. A null `normalizer` changes nothing.
  AddedTokens(const std::vector<AddedToken>& tokens, const Normalizer& normalizer);

  /// Cuts `text` into added tokens and the normalized pieces between them: the longest token wins
  /// where several begin.
  std::vector<Piece> extract(std::string text, const Normalizer& normalizer) const;

  /// Null where `id` is none of them.
  const AddedToken* find(TokenId id) const;
  TokenId id_of(std::string_view content) const;
  /// The form decoders expect: normalized where the token is.
  const std::string& decoded_form(const AddedToken& token) const;
  bool is_special(const std::string& content) const { return special_.contains(content); }
  TokenId end_id() const { return end_id_; }

 private:
  /// Longest match by first byte and length; few distinct lengths begin with one byte.
  struct Finder {
    std::unordered_map<std::string_view, TokenId> ids;
    std::vector<size_t> lengths[256];  // [first byte], longest first
    void insert(std::string_view form, TokenId id);
    TokenId match(std::string_view text, size_t pos, size_t& length) const;
  };
  void cut(const Piece& piece, const Finder& finder, std::vector<Piece>& result) const;

  std::unordered_map<TokenId, AddedToken> tokens_;
  std::unordered_map<TokenId, std::string> forms_;  // as the finders look for them
  std::unordered_map<std::string_view, TokenId> index_;
  std::unordered_set<std::string> special_;
  Finder raw_, normalized_;
  TokenId end_id_ = 0;
};

}  // namespace lora_dist
