// Conversations in a text file that a chat template has laid out already, over several lines:
// `<|im_start|>user`, `<|start_header_id|>user<|end_header_id|>`, `<start_of_turn>user`,
// `<|user|>`,
// `[INST]`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/sources/source.hpp"

namespace lora_dist {

/// Whether a file begins so. Not where each line is a whole conversation: such lines are texts.
bool is_marked_chat(const std::vector<std::string>& first_lines);

/// The turns without their marks: the template of the run writes its own.
std::unique_ptr<Source> open_marked_chat(const std::string& path);

}  // namespace lora_dist
