// An adapter as it lies on disk, in the words of no program in particular.
#pragma once

#include <string>

#include "core/config/config.hpp"
#include "core/training/training_state.hpp"

namespace lora_dist {

struct AdapterDescription {
  std::string base_model;
  AdapterConfig settings;  // of its method; modules are listed as the model spells them
  std::string task = "text-generation";
  std::string template_name;  // what `generate` applies; empty where nobody said
};

struct LoadedAdapter {
  AdapterDescription description;
  NamedTensors tensors;  // fp32, named as ModuleRole::name(), in name order
  std::string path;
};

}  // namespace lora_dist
