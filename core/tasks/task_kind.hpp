// The registry of tasks: what a sample of each is, and what trains on it.
#pragma once

#include <memory>

#include "core/base/registry.hpp"
#include "core/samples/sample.hpp"
#include "core/tasks/task.hpp"

namespace lora_dist {

class Model;

/// What a run says of its samples. 0: no limit.
struct SampleLimits {
  int64_t vocab_size = 0;
  int64_t max_seq_length = 0;
};

struct TaskKind {
  SampleSchema (*schema)(const SampleLimits& limits) = nullptr;
  /// `model` must outlive the task. Errors  ModelError: the task is none of such a model.
  std::unique_ptr<Task> (*make)(Model& model) = nullptr;
};

/// By the words of the key task_type.
const Registry<TaskKind>& tasks();

/// What `task_type: auto` is: every family of models.def is a language model.
inline constexpr auto kTextGeneration = "text-generation";

}  // namespace lora_dist
