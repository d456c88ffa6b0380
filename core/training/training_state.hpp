// Everything a run needs to go on. Nothing here depends on the world size.
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

}  // namespace lora_dist
