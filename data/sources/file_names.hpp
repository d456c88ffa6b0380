// What the name of a file says about it.
#pragma once

#include <string>
#include <string_view>

namespace lora_dist {

/// ".jsonl" of "data/Train.JSONL"; empty where there is none.
std::string lower_extension(const std::string& path);

/// Whether a file or folder is called like data to evaluate with: test-00000-of-00001.json,
/// my_eval.jsonl, heldout, validation. A name that says "train" too is not.
bool named_as_evaluation(std::string_view name);

}  // namespace lora_dist
