// One update rule over the flat buffer of trainable parameters.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/base/registry.hpp"
#include "core/config/config.hpp"
#include "core/training/trainable_params.hpp"

namespace lora_dist {

struct OptimizerArgs {
  at::Tensor params;  // (P), fp32, updated in place
  StepsConfig config;
  std::vector<ParameterGroup> groups = {};  // cover params in order; none: all at one rate
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// `gradient` is (P), fp32, the clipped gradient of the mean loss. Each group learns at
  /// `learning_rate` times its factor.
  virtual void step(const at::Tensor& gradient, double learning_rate) = 0;
  /// Named tensors on the host, enough to go on bit for bit.
  virtual NamedTensors state() const = 0;
  /// Errors  ModelError: a tensor is missing or misshaped; `where` names the file.
  virtual void restore(const NamedTensors& state, const std::string& where) = 0;
};

struct OptimizerKind {
  std::unique_ptr<Optimizer> (*make)(OptimizerArgs);
  int64_t state_bytes_per_parameter;  // also in a checkpoint; without the scales of 8-bit blocks
  std::string help;                   // ends the help of the key `optimizer`

  std::unique_ptr<Optimizer> operator()(OptimizerArgs args) const { return make(std::move(args)); }
};
const Registry<OptimizerKind>& optimizers();

}  // namespace lora_dist
