// Next-token prediction on a causal language model.
#pragma once

#include <memory>

#include "core/models/decoder/decoder.hpp"
#include "core/tasks/task.hpp"

namespace lora_dist {

/// `model` must outlive the task.
std::unique_ptr<Task> make_text_generation_task(Decoder& model);

}  // namespace lora_dist
