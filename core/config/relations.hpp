// What holds between keys: checks that need two of them, and defaults that follow from others.
#pragma once

#include "core/config/config.hpp"

namespace lora_dist::config {

/// Two values that cannot both be meant, and values that lack what they need.
std::vector<ConfigError> broken_relations(const Config& config);
/// Adds a line for each value that another one leaves without effect.
void warn_of_keys_without_effect(const Config& config, std::vector<std::string>& warnings);
/// lora_alpha, output_name, log_dir, prepared_dir.
void fill_defaults(Config& config);

}  // namespace lora_dist::config
