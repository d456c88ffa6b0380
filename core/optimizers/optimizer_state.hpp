// Reading an optimizer's tensors back from a checkpoint.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/training/training_state.hpp"

namespace lora_dist {

/// Copies the tensors of `state` into `targets` by name. Errors  ModelError: one is missing or has
/// another shape or number format; `where` names the file.
void restore_tensors(const NamedTensors& state,
                     const std::vector<std::pair<const char*, at::Tensor>>& targets,
                     const std::string& where);

}  // namespace lora_dist
