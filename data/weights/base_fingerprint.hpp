// Which base model this is, and which training of it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Over config.json and the names, dtypes and shapes of all weights with some bytes from the middle
/// of each: hashing gigabytes at every start would cost its seconds.
std::string base_fingerprint(const nlohmann::ordered_json& config, WeightSource& files);

}  // namespace lora_dist
