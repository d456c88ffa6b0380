// The resident memory of one rank at its peak, from the shapes alone.
//
// Layers, adapters and the optimizer say what they take (core/models/profile.hpp); here it is added
// up over the run of a step, with the buffers in which stored weights are widened. Freed memory
// stays with the process (launcher/run/memory), so the peak is what counts.
#pragma once

#include <cstdint>

#include "core/models/model.hpp"

namespace lora_dist {

struct MemoryRequest {
  const WeightTable& table;
  const std::vector<WeightInfo>& base;
  const ModelProfile& model;  // of `shape`
  PassShape shape;
  int64_t trainable_parameters = 0;
  int64_t lowest_adapted_block = 0;  // blocks below it keep nothing
  int64_t slots_of_rank = 1;         // micro-batches of a step on this rank
  int64_t world_size = 1;
  int64_t base_file_bytes = 0;
  int64_t program_bytes = 0;  // before anything is read: libraries, their buffers and threads
  int64_t moment_bytes = 8;   // of the optimizer's state, for each trainable parameter
  bool recompute_blocks = false;
  bool saves_checkpoints = true;
  bool keeps_best = false;      // load_best_model_at_end
  bool records_blocks = false;  // cuda_graphs
};

struct MemoryPlan {
  // Mapped and shared by the ranks of a host, or this rank's own: a copy, or where the base is
  // gathered its slice, all norms and biases, and two units (core/models/weight_table.hpp).
  int64_t weights = 0;
  int64_t adapter = 0;  // fp32 values, gradients, compute copy, snapshots
  int64_t optimizer = 0;
  int64_t activations = 0;  // at the peak of a step
  int64_t other = 0;        // program, libraries, widened weights
  int64_t total() const { return weights + adapter + optimizer + activations + other; }
};

MemoryPlan plan_memory(const MemoryRequest& request);

}  // namespace lora_dist
