// How a base model ends a text, as its generation_config.json says.
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

/// The ids that end a generated text: eos_token_id of generation_config.json, or where that file
/// or its key is missing, of config.json; each a number or a list. Empty where neither names one.
/// Errors  ModelError: no token id, broken JSON.
std::vector<int64_t> read_eos_ids(const std::string& model_dir);

}  // namespace lora_dist
