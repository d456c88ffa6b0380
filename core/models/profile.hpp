// What a model costs on paper: memory and arithmetic of its parts for one micro-batch, from shapes
// alone.
//
// Each layer answers for itself, beside the code that it describes (core/models/layers); a model
// adds them up block by block, core/planning adds the blocks up to a run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace lora_dist {

/// A micro-batch and its number formats.
struct PassShape {
  int64_t batch_size = 4, tokens = 512;  // rows of it, and the longest sequence
  int64_t compute_bytes = 4;             // of an activation
  int64_t product_bytes = 4;             // of the numbers that are multiplied
  bool on_gpu = false;
  bool deterministic = true;

  int64_t rows() const { return batch_size * tokens; }
  /// Bytes of (N, width) activations.
  int64_t activation(int64_t width) const { return rows() * width * compute_bytes; }
  /// What a product takes for x and y of `bytes` together, where they are multiplied in another
  /// number format than they are kept in.
  int64_t converted(int64_t bytes) const {
    return product_bytes == compute_bytes ? 0 : bytes * product_bytes / compute_bytes;
  }
};

/// What adapters on the layers of one group take while the group runs, in bytes.
struct AdapterLoad {
  int64_t forward_bytes = 0, backward_bytes = 0;
};
/// Asks for the adapters on `modules`, layers that read one input of `in_features`.
using AdapterLoadOf = std::function<AdapterLoad(const std::vector<std::string>& modules,
                                                int64_t in_features, const PassShape& shape)>;

/// One layer, or several that run as one.
struct LayerCost {
  int64_t kept_bytes = 0;      // from its forward to its backward pass
  int64_t forward_bytes = 0;   // alive at once inside, at the peak, beside what is kept
  int64_t backward_bytes = 0;  // likewise
  // Arithmetic of one token, without adapters. A frozen weight costs 2 forward and 2 backward,
  // which forms the gradient of its input only.
  double forward_flops = 0, backward_flops = 0;
};

struct ModelProfile {
  int64_t hidden_bytes = 0;       // of what goes from block to block
  std::vector<LayerCost> blocks;  // [block]
  LayerCost head;                 // with the loss, forward and backward in one
  int64_t head_buffer_bytes = 0;  // that the model keeps for its head
};

}  // namespace lora_dist
