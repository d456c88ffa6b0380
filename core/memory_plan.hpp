// The resident memory of one rank at its peak, from the shapes alone.
//
// It follows the code of core/models: what a block keeps for its backward pass, what is alive at
// once inside it, the chunk of logits, the buffer in which stored weights are widened. Freed memory
// stays with the process (launcher/run/memory), so the peak is what counts.
#pragma once

#include <cstdint>

#include "core/models/decoder_spec.hpp"

namespace lora_dist {

/// Ranks of the adapted layers that read the same input, added up; of the layer with most.
struct RanksOfGroups {
  int64_t qkv = 0, output = 0, gate_up = 0, down = 0;
  int64_t largest = 0;  // of a single layer
};

struct MemoryRequest {
  const DecoderSpec& spec;
  int64_t trainable_parameters = 0;
  int64_t lowest_adapted_layer = 0;  // blocks below it keep nothing
  RanksOfGroups ranks;
  bool drops_inputs = false;             // lora_dropout > 0
  int64_t batch_size = 4, tokens = 512;  // of a micro-batch; tokens is the longest sequence
  int64_t slots_of_rank = 1;             // micro-batches of a step on this rank
  int64_t world_size = 1;
  int64_t compute_bytes = 4;  // of an activation
  int64_t product_bytes = 4;  // of the numbers that are multiplied
  int64_t stored_bytes = 2;   // of a weight in its file
  int64_t base_file_bytes = 0;
  int64_t program_bytes = 0;  // before anything is read: libraries, their buffers and threads
  int64_t moment_bytes = 8;   // of the optimizer's state, for each trainable parameter
  bool recompute_blocks = false;
  bool saves_checkpoints = true;
  bool keeps_best = false;  // load_best_model_at_end
  bool on_gpu = false;
  bool deterministic = true;
  bool records_blocks = false;  // cuda_graphs
};

struct MemoryPlan {
  // Mapped and shared by the ranks of a host, or this rank's own: a copy, or where the base is
  // gathered its slice, all norms and biases, and two units (core/models/decoder_units.hpp).
  int64_t weights = 0;
  int64_t adapter = 0;  // fp32 values, gradients, compute copy, snapshots
  int64_t optimizer = 0;
  int64_t activations = 0;  // at the peak of a step
  int64_t other = 0;        // program, libraries, widened weights
  int64_t total() const { return weights + adapter + optimizer + activations + other; }
};

MemoryPlan plan_memory(const MemoryRequest& request);

}  // namespace lora_dist
