// Socket: where the states of a run are kept. Plugged by data/checkpoints.
#pragma once

#include "core/training/training_state.hpp"

namespace lora_dist {

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
