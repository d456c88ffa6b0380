// The adapter as files that PEFT loads: adapter_config.json and adapter_model.safetensors, written
// and read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/config/config.hpp"
#include "core/training/training_state.hpp"

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

/// `path` is a PEFT folder, or a .safetensors file; the file's description is then the one in its
/// header (written by us), else adapter_config.json beside it. Without either lora_alpha is
/// unknown, and a guess would scale the adapter wrongly: ModelError. Values are converted to fp32
/// and are finite; every A has its B and the rank that is described. Errors  ModelError (also for
/// what we do not support: DoRA, biases, embeddings, saved modules), StorageError.
LoadedAdapter load_adapter(const std::string& path);

/// Module that the tensor `name` belongs to, as PEFT spells it ("model.layers.0.self_attn.q_proj");
/// empty for a tensor that is neither lora_A nor lora_B of a linear layer.
std::string module_of(const std::string& tensor_name);

/// Content of adapter_config.json. "all-linear" is written as the names that `tensors` has, since
/// PEFT would resolve it against the base again.
std::string adapter_config_json(const AdapterDescription& description, const NamedTensors& tensors);
/// Header of adapter_model.safetensors: makes the file readable without its folder.
std::map<std::string, std::string> adapter_metadata(const AdapterDescription& description,
                                                    const NamedTensors& tensors);

/// Writes both files into `folder`; `save_dtype` is fp32, bf16 or fp16. Reads the tensors back and
/// compares. Errors  StorageError, ModelError (what was read back differs).
void write_adapter(const std::string& folder, const AdapterDescription& description,
                   const NamedTensors& tensors, const std::string& save_dtype);

/// What a text run leaves in `output_dir`: the pair, and pytorch_lora_weights.safetensors with the
/// same tensors. Errors  as write_adapter.
void write_llm_exports(const std::string& output_dir, const AdapterDescription& description,
                       const NamedTensors& tensors, const std::string& save_dtype);

}  // namespace lora_dist
