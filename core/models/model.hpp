// Socket: a network whose weights are frozen, and what adapters, tasks and plans ask of any such.
//
// Its forward and backward passes are called by the task that it is made for, which knows what goes
// in and what comes out (core/tasks).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/models/profile.hpp"
#include "core/models/weight_table.hpp"
#include "core/ops/cuda/graph.hpp"

namespace lora_dist {

class LinearGroup;
class Model;

struct ModelOptions {
  at::ScalarType compute = at::kFloat;  // dtype of activations: fp32 or bf16
  at::Device device = at::kCPU;
  bool recompute_blocks = false;  // gradient_checkpointing: keep block inputs only
  bool deterministic = true;      // a step gives the same bits in every run, on a GPU too
};

/// What is known of a model before any of its weights is read: its config.
class ModelOutline {
 public:
  virtual ~ModelOutline() = default;

  virtual const std::string& model_type() const = 0;
  virtual const WeightTable& table() const = 0;
  virtual int64_t num_blocks() const = 0;
  /// The units that one pass runs, in order: all of them forwards, and for gradients those of the
  /// blocks from the last one down to `lowest_block`. num_blocks(): forwards only.
  virtual std::vector<size_t> units_of_pass(int64_t lowest_block) const = 0;
  virtual ModelProfile profile(const PassShape& shape, const AdapterLoadOf& adapters) const = 0;

  /// Settles by what `weights` hold what the config leaves to them. Errors  ModelError.
  virtual void settle(WeightSource& weights) { (void)weights; }
  /// The network on `weights`, which outlive it. Errors  ModelError naming missing or misshaped
  /// tensors.
  virtual std::unique_ptr<Model> build(WeightSource& weights,
                                       const ModelOptions& options) const = 0;
};

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelOutline& outline() const = 0;
  virtual const ModelOptions& options() const = 0;
  /// The layers that adapters may sit on, in the order of the forward pass.
  virtual std::vector<LinearGroup*> linear_groups() = 0;

  virtual void set_recompute_blocks(bool recompute) = 0;
  /// Training passes run the blocks as recorded graphs from here on. Weights, adapters' copies and
  /// their gradient stay where they are, and weights are stored as they are multiplied.
  virtual void record_blocks(std::shared_ptr<ops::cuda::GraphRecorder> recorder) = 0;
};

}  // namespace lora_dist
