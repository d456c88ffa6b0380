// Where a layer finds its own weights: below one module path of a checkpoint.
#pragma once

#include <functional>
#include <string>

#include "core/models/layers/linear.hpp"

namespace lora_dist {

/// Answers with the handle of a weight. Errors  ModelError: there is none of that name.
using FindWeight = std::function<FrozenWeight(const std::string& name)>;

class WeightScope {
 public:
  /// `find` outlives it.
  WeightScope(const FindWeight& find, std::string path, at::Device device)
      : find_(find), path_(std::move(path)), device_(device) {}

  WeightScope within(const std::string& part) const { return {find_, path_ + "." + part, device_}; }
  Linear linear(const std::string& part, bool bias) const {
    const std::string path = path_ + "." + part;
    return Linear(path, find_(path + ".weight"), bias ? find_(path + ".bias") : FrozenWeight());
  }
  /// A vector in fp32 on the model's device: a few kB, held for the run.
  at::Tensor vector(const std::string& part) const {
    return find_(path_ + "." + part + ".weight").vector().to(device_, at::kFloat).contiguous();
  }

 private:
  const FindWeight& find_;
  std::string path_;
  at::Device device_;
};

}  // namespace lora_dist
