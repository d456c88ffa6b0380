// adapter_config.json to and from AdapterDescription (formats 2.2).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "data/exports/adapter_description.hpp"

namespace lora_dist {

/// The value of adapter_config.json, keys sorted, patterns in their own order (the first that
/// matches wins).
nlohmann::ordered_json peft_config(const AdapterDescription& description,
                                   const NamedTensors& tensors);

/// Errors  ModelError naming the key that is missing, wrong or asks for what we do not support.
AdapterDescription parse_peft_config(const nlohmann::ordered_json& config,
                                     const std::string& where);

}  // namespace lora_dist
