// Byte-pair encoding: the merges that turn the characters of a piece into tokens.
//
// The same core serves byte-level vocabularies (GPT-2, Llama-3, Qwen) and SentencePiece-like ones
// with byte fallback (Llama-2, Mistral, Gemma): the best-ranked pair of neighbours is joined until
// no pair has a merge, the leftmost first among equals. Results of short pieces are kept, so that a
// common word costs one look-up.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

struct BpeOptions {
  std::string unk_token;                  // empty: unknown characters vanish
  std::string continuing_subword_prefix;  // before every character of a piece but the first
  std::string end_of_word_suffix;         // behind the last character of a piece
  bool fuse_unk = false;                  // neighbouring unknown characters are one unk
  bool byte_fallback = false;             // an unknown character becomes its bytes, <0xE4>
  bool ignore_merges = false;             // a piece that is in the vocabulary is taken whole
};

class Bpe {
 public:
  using Vocab = std::vector<std::pair<std::string, TokenId>>;
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// `where` is for messages. Errors  ModelError: a piece or an id twice, a merge of an unknown
  /// token.
  Bpe(Vocab vocab, const Merges& merges, BpeOptions options, const std::string& where);
  ~Bpe();

  /// Appends the ids of a piece. Thread-safe.
  void encode(const std::string& piece, std::vector<TokenId>& ids) const;

  /// -1 where there is no such piece.
  TokenId id_of(std::string_view piece) const;
  /// Null where the id is not used.
  const std::string* piece(TokenId id) const;
  /// The largest id + 1.
  TokenId end_id() const { return static_cast<TokenId>(pieces_.size()); }

 private:
  class MergeTable;
  class Cache;
  void index_vocab(Vocab vocab, const std::string& where);
  void insert_merges(const Merges& merges, const std::string& where);
  std::vector<TokenId> characters(const std::string& piece) const;
  bool append_bytes(std::string_view character, std::vector<TokenId>& ids) const;
  void merge(std::vector<TokenId>& ids) const;

  BpeOptions options_;
  std::vector<std::string> pieces_;  // [id]; empty where the id is not used
  std::unordered_map<std::string_view, TokenId> index_;
  std::array<TokenId, 256> byte_ids_;  // [byte]; -1 where <0xXX> is no token
  TokenId unk_id_ = -1;
  std::unique_ptr<MergeTable> merges_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace lora_dist
