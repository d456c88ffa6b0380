#include "data/tokenizers/bpe.hpp"

#include <algorithm>
#include <mutex>
#include <queue>

#include <fmt/format.h>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

constexpr size_t kCachedPieceBytes = 256;  // longer pieces rarely come again
constexpr size_t kCacheShards = 16;        // locks; more than the threads that tokenise at once
constexpr size_t kCachedPiecesPerShard = 4096;

[[noreturn]] void fail(const std::string& where, const std::string& found) {
  throw ModelError({.where = where, .found = found, .expected = {}, .fix = {}});
}

}  // namespace

/// (left id, right id) -> (rank, merged id), open addressing in a table at most half full: one
/// cache line per look-up.
class Bpe::MergeTable {
 public:
  struct Merge {
    uint64_t pair = kEmpty;
    int32_t rank = 0;
    TokenId merged = -1;
  };

  explicit MergeTable(size_t num_merges) {
    size_t size = 16;
    while (size < 2 * num_merges) size *= 2;
    slots_.resize(size);
  }

  /// A pair that is listed twice keeps its later rank, as in Hugging Face's table.
  void insert(TokenId left, TokenId right, int32_t rank, TokenId merged) {
    slots_[position(key(left, right))] = {key(left, right), rank, merged};
  }

  const Merge* find(TokenId left, TokenId right) const {
    const Merge& slot = slots_[position(key(left, right))];
    return slot.pair == kEmpty ? nullptr : &slot;
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  static uint64_t key(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  size_t position(uint64_t pair) const {
    size_t slot = (pair * 0x9E3779B97F4A7C15u >> 20) & (slots_.size() - 1);  // Fibonacci hashing
    while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair)
      slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }

  std::vector<Merge> slots_;
};

class Bpe::Cache {
 public:
  bool append(const std::string& piece, std::vector<TokenId>& ids) {
    Shard& shard = shard_of(piece);
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.entries.find(piece);
    if (found == shard.entries.end()) return false;
    ids.insert(ids.end(), found->second.begin(), found->second.end());
    return true;
  }

  void keep(const std::string& piece, const std::vector<TokenId>& ids) {
    Shard& shard = shard_of(piece);
    const std::lock_guard lock(shard.mutex);
    if (shard.entries.size() < kCachedPiecesPerShard) shard.entries.emplace(piece, ids);
  }

 private:
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<TokenId>> entries;
  };
  Shard& shard_of(const std::string& piece) {
    return shards_[std::hash<std::string>{}(piece) % kCacheShards];
  }

  std::array<Shard, kCacheShards> shards_;
};

Bpe::Bpe(Vocab vocab, const Merges& merges, BpeOptions options, const std::string& where)
    : options_(std::move(options)),
      merges_(std::make_unique<MergeTable>(merges.size())),
      cache_(std::make_unique<Cache>()) {
  index_vocab(std::move(vocab), where);
  insert_merges(merges, where);
  for (int byte = 0; byte < 256; ++byte) byte_ids_[byte] = id_of(fmt::format("<0x{:02X}>", byte));
  if (options_.unk_token.empty()) return;
  unk_id_ = id_of(options_.unk_token);
  if (unk_id_ < 0)
    fail(where,
         fmt::format("unk_token '{}' is not in the vocabulary", printable(options_.unk_token)));
}

Bpe::~Bpe() = default;

void Bpe::index_vocab(Vocab vocab, const std::string& where) {
  TokenId largest = -1;
  for (const auto& [piece, id] : vocab) largest = std::max(largest, id);
  pieces_.resize(static_cast<size_t>(largest) + 1);
  std::vector<bool> used(pieces_.size());
  for (auto& [piece, id] : vocab) {
    if (used[id])
      fail(where, fmt::format("id {} belongs to '{}' and '{}'", id, printable(pieces_[id]),
                              printable(piece)));
    used[id] = true;
    pieces_[id] = std::move(piece);
  }
  index_.reserve(pieces_.size());
  for (TokenId id = 0; id <= largest; ++id)
    if (used[id] && !index_.emplace(pieces_[id], id).second)
      fail(where, fmt::format("'{}' is in the vocabulary twice", printable(pieces_[id])));
}

void Bpe::insert_merges(const Merges& merges, const std::string& where) {
  const size_t prefix_bytes = options_.continuing_subword_prefix.size();
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto known_id = [&, &left = left, &right = right](const std::string& piece) {
      const TokenId id = id_of(piece);
      if (id < 0)
        fail(where, fmt::format("merge {} '{}' '{}': '{}' is not in the vocabulary", rank + 1,
                                printable(left), printable(right), printable(piece)));
      return id;
    };
    const TokenId left_id = known_id(left), right_id = known_id(right);
    joined.assign(left).append(right, std::min(prefix_bytes, right.size()));
    merges_->insert(left_id, right_id, static_cast<int32_t>(rank), known_id(joined));
  }
}

TokenId Bpe::id_of(std::string_view piece) const {
  const auto found = index_.find(piece);
  return found == index_.end() ? -1 : found->second;
}

const std::string* Bpe::piece(TokenId id) const {
  if (id < 0 || id >= end_id()) return nullptr;
  return id_of(pieces_[id]) == id ? &pieces_[id] : nullptr;
}

void Bpe::encode(const std::string& piece, std::vector<TokenId>& ids) const {
  if (options_.ignore_merges) {
    if (const TokenId whole = id_of(piece); whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  const bool cached = piece.size() <= kCachedPieceBytes;
  if (cached && cache_->append(piece, ids)) return;
  std::vector<TokenId> word = characters(piece);
  merge(word);
  ids.insert(ids.end(), word.begin(), word.end());
  if (cached) cache_->keep(piece, word);
}

std::vector<TokenId> Bpe::characters(const std::string& piece) const {
  std::vector<TokenId> ids;
  ids.reserve(piece.size());
  bool unk_pending = false;  // not written yet: fuse_unk may swallow the next one
  const auto write_pending_unk = [&] {
    if (unk_pending) ids.push_back(unk_id_);
    unk_pending = false;
  };
  std::string marked;
  for (size_t pos = 0; pos < piece.size();) {
    const size_t bytes = char_bytes(piece, pos);
    std::string_view character = std::string_view(piece).substr(pos, bytes);
    const bool takes_prefix = pos > 0 && !options_.continuing_subword_prefix.empty();
    const bool takes_suffix = pos + bytes == piece.size() && !options_.end_of_word_suffix.empty();
    if (takes_prefix || takes_suffix) {
      marked = takes_prefix ? options_.continuing_subword_prefix : std::string();
      marked.append(character).append(takes_suffix ? options_.end_of_word_suffix : std::string());
      character = marked;
    }
    pos += bytes;
    if (const TokenId id = id_of(character); id >= 0) {
      write_pending_unk();
      ids.push_back(id);
    } else if (!(options_.byte_fallback && append_bytes(character, ids)) && unk_id_ >= 0) {
      if (!options_.fuse_unk) write_pending_unk();
      unk_pending = true;
    }
  }
  write_pending_unk();
  return ids;
}

bool Bpe::append_bytes(std::string_view character, std::vector<TokenId>& ids) const {
  for (const unsigned char byte : character)
    if (byte_ids_[byte] < 0) return false;
  for (const unsigned char byte : character) ids.push_back(byte_ids_[byte]);
  return true;
}

void Bpe::merge(std::vector<TokenId>& ids) const {
  struct Candidate {
    int32_t rank;
    int32_t left;  // position
    TokenId merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const int32_t size = static_cast<int32_t>(ids.size());
  std::vector<int32_t> previous(size),
      next(size);  // neighbours that are still there; `size` is the end
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](int32_t left, int32_t right) {
    if (const auto* merge = merges_->find(ids[left], ids[right]))
      queue.push({merge->rank, left, merge->merged});
  };
  for (int32_t i = 0; i < size; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
    if (i > 0) consider(i - 1, i);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const int32_t left = best.left;
    if (ids[left] < 0 || next[left] == size) continue;
    const int32_t right = next[left];
    // A neighbour may have changed since the pair was queued.
    const auto* merge = merges_->find(ids[left], ids[right]);
    if (merge == nullptr || merge->merged != best.merged) continue;
    ids[left] = best.merged;
    ids[right] = -1;
    next[left] = next[right];
    if (next[left] < size) {
      previous[next[left]] = left;
      consider(left, next[left]);
    }
    if (previous[left] >= 0) consider(previous[left], left);
  }
  std::erase(ids, -1);
}

}  // namespace lora_dist
