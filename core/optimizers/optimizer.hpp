// One update rule over the flat buffer of trainable parameters.
#pragma once

#include <functional>
#include <memory>

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

using OptimizerFactory = std::function<std::unique_ptr<Optimizer>(OptimizerArgs)>;
const Registry<OptimizerFactory>& optimizers();

}  // namespace lora_dist
