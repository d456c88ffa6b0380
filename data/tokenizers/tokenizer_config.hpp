// What stands beside tokenizer.json: which tokens are BOS, EOS and PAD, further added tokens, the
// chat template.
#pragma once

#include <string>
#include <vector>

#include "data/tokenizers/added_tokens.hpp"

namespace lora_dist {

/// One of BOS, EOS, PAD: by its text, by its id, or not there.
struct NamedToken {
  std::string content;
  TokenId id = kNoToken;
};

struct TokenizerConfig {
  NamedToken bos, eos, pad;
  std::vector<AddedToken> added_tokens;  // these win over tokenizer.json's, as in AutoTokenizer
  std::string chat_template;
  std::vector<std::string> files;  // paths that were read
};

/// For each special token the first of tokenizer_config.json, special_tokens_map.json and
/// config.json that names it (a null is an answer: there is none). For the template
/// chat_template.jinja, then `chat_template` (of a list the one named default). None of the files
/// has to be there. Errors  ModelError: broken JSON, a member of another type.
TokenizerConfig read_tokenizer_config(const std::string& model_dir);

}  // namespace lora_dist
