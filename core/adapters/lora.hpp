// What the settings of LoRA say about a module, its patterns included.
#pragma once

#include <string>

#include "core/config/config.hpp"

namespace lora_dist {

/// PEFT's pattern lookup: the value of the first pattern K with `^(.*\.)?(K)$` matching `name`,
/// else `otherwise`. Errors  ConfigError: a pattern is no regular expression.
double pattern_value(const PatternMap& patterns, const std::string& name, double otherwise);

int64_t lora_rank_of(const AdapterConfig& config, const std::string& module);
double lora_alpha_of(const AdapterConfig& config, const std::string& module);
/// The factor of B A: alpha / r, with rsLoRA alpha / sqrt(r).
double lora_scale_of(const AdapterConfig& config, const std::string& module);

}  // namespace lora_dist
