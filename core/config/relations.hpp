// What holds between keys: checks that need two of them, and defaults that follow from others.
#pragma once

#include "core/config.hpp"

namespace lora_dist::config {

/// Errors  ConfigError: two values that cannot both be meant.
void check_relations(const Config& config);
/// lora_alpha, output_name, log_dir, prepared_dir.
void fill_defaults(Config& config);

}  // namespace lora_dist::config
