// adapter_config.json to and from AdapterDescription (formats 2.2).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "data/exports/adapter_files.hpp"

namespace lora_dist {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterModelFile = "adapter_model.safetensors";
/// Key in the safetensors header whose value is {"config": <adapter_config.json>, "template":
/// <name>}.
inline constexpr const char* kAdapterMetadataKey = "lora_dist.adapter";

/// The value of adapter_config.json, keys sorted, patterns in their own order (the first that
/// matches wins).
nlohmann::ordered_json adapter_config(const AdapterDescription& description,
                                      const NamedTensors& tensors);

/// Errors  ModelError naming the key that is missing, wrong or asks for what we do not support.
AdapterDescription parse_adapter_config(const nlohmann::ordered_json& config,
                                        const std::string& where);

}  // namespace lora_dist
