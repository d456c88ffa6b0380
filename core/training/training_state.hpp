// Everything a run needs to go on. Nothing here depends on the world size.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// Where a tensor of an adapter belongs: a module of the model, and what the tensor does there.
/// Written "<module>.<role>"; other programs' names for it are data/exports' business.
struct ModuleRole {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  std::string role;    // "lora_A"; without a dot
  std::string name() const { return module + "." + role; }
  /// The inverse of name().
  static ModuleRole of(const std::string& name) {
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos) return {{}, name};
    return {name.substr(0, dot), name.substr(dot + 1)};
  }
  bool operator==(const ModuleRole&) const = default;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct TrainingState {
  int64_t step = 0;  // optimiser steps done
  double epoch = 0;
  NamedTensors adapter;    // fp32, host, named as ModuleRole::name()
  NamedTensors optimizer;  // fp32, host, names given by the optimiser
  nlohmann::ordered_json
      trainer;  // log history, best metric, tokens seen: the fields of trainer_state.json
};

}  // namespace lora_dist
