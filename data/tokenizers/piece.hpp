// What travels through a tokenizer: pieces of text, and the four kinds of steps that work on them.
//
// A tokenizer.json names its steps as components ("NFC", "Split", "Sequence" of others). Each kind
// has a file that turns a component into a plain function; here are the types they share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

inline constexpr TokenId kNoToken = -1;

struct Piece {
  std::string text;
  TokenId id = kNoToken;  // an added token found in the text: no later step touches it
  bool starts_text =
      false;  // begins where the caller's text begins (Metaspace's scheme "first" asks)
};

using Normalizer = std::function<void(std::string& text)>;
using PreTokenizer = std::function<void(std::vector<Piece>& pieces)>;
/// From the spellings of tokens to parts of the text, to be joined.
using PartDecoder = std::function<void(std::vector<std::string>& parts)>;

/// Ids put around a text when special tokens are asked for.
struct PostProcessor {
  std::vector<TokenId> before, after;
};

}  // namespace lora_dist
