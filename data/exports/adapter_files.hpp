// The adapter as files that PEFT loads: adapter_config.json and adapter_model.safetensors, written and read.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config.hpp"
#include "core/training_state.hpp"

namespace lora_dist {

/// What adapter_config.json says (formats 2.2). Modules are listed as PEFT spells them.
struct AdapterDescription {
  std::string base_model;  // base_model_name_or_path
  int64_t lora_rank = 8;
  double lora_alpha = 16;
  double lora_dropout = 0;
  bool use_rslora = false;
  ModulePattern target_modules, exclude_modules;
  PatternMap rank_pattern, alpha_pattern;
  std::string template_name;  // ours, in the safetensors header: what `generate` applies

  /// scale of the module `name` (alpha / r, or alpha / sqrt(r)), with its patterns.
  int64_t rank_of(const std::string& module) const;
  double scale_of(const std::string& module) const;
};

AdapterDescription describe_adapter(const Config& config, const std::string& template_name);

struct LoadedAdapter {
  AdapterDescription description;
  NamedTensors tensors;  // fp32, names as in the file, in name order
  std::string path;
};

/// `path` is a PEFT folder, or a .safetensors file (its description is then read beside it or derived from the shapes,
/// with lora_alpha from the header if there). Errors  ModelError, StorageError.
LoadedAdapter load_adapter(const std::string& path);

/// Writes both files into `folder`; `save_dtype` is fp32, bf16 or fp16. Reads the tensors back and compares.
/// Errors  StorageError, ModelError (what was read back differs).
void write_adapter(const std::string& folder, const AdapterDescription& description, const NamedTensors& tensors,
                   const std::string& save_dtype);

}  // namespace lora_dist
