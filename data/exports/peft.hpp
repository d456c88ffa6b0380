// PEFT's files of an adapter: adapter_config.json and adapter_model.safetensors. Checkpoints keep
// theirs in the same layout, so that PEFT opens them, too.
#pragma once

#include <map>
#include <string>

#include "data/exports/dialect.hpp"

namespace lora_dist {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterModelFile = "adapter_model.safetensors";

const AdapterDialect& peft_dialect();

/// Content of adapter_config.json. "all-linear" is written as the names that `tensors` has, since
/// PEFT would resolve it against the base again.
std::string adapter_config_json(const AdapterDescription& description, const NamedTensors& tensors);
/// Header of adapter_model.safetensors: makes the file readable without its folder.
std::map<std::string, std::string> adapter_metadata(const AdapterDescription& description,
                                                    const NamedTensors& tensors);
/// A file like adapter_model.safetensors under the name `path`. Errors  as AdapterDialect::write().
void write_peft_file(const std::string& path, const AdapterDescription& description,
                     const NamedTensors& tensors, const std::string& save_dtype);

}  // namespace lora_dist
