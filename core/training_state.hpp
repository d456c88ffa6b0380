// Everything a run needs to go on, and the socket that keeps it. Nothing here depends on the world
// size.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace lora_dist {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct TrainingState {
  int64_t step = 0;  // optimiser steps done
  double epoch = 0;
  NamedTensors adapter;    // fp32, host, names as in adapter_model.safetensors
  NamedTensors optimizer;  // fp32, host, names given by the optimiser
  nlohmann::ordered_json
      trainer;  // log history, best metric, tokens seen: the fields of trainer_state.json
};

/// Socket: plugged by data/checkpoints.
class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  /// Ranks   rank 0 only; no collective inside. The state is a snapshot owned by the store from
  /// here on. Errors  StorageError.
  virtual void save(TrainingState state) = 0;
  /// Waits for saves under way.
  virtual void flush() = 0;
};

}  // namespace lora_dist
