// Reading tokenizer.json.
//
// The file is up to 17 MB, nearly all of it vocabulary and merges, so these two go straight from
// the parser into lists (0.2 s for Llama-3 instead of the better part of a second); the rest, a few
// kilobytes, becomes a JSON tree.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {

struct TokenizerJson {
  std::vector<std::pair<std::string, TokenId>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;  // index is the priority, best first
  nlohmann::json rest;  // everything but model.vocab and model.merges
};

/// `path` is for messages. Errors  ModelError: broken JSON with its byte, a key twice, deeper than
/// 64 levels, an id or a merge of another type.
TokenizerJson parse_tokenizer_json(const std::string& content, const std::string& path);

}  // namespace lora_dist
