// The words of config keys that data and dist know: core, which reads the config, does not see
// them.
#pragma once

namespace lora_dist {

/// Tells core/config the names of the registries of data and dist. The first thing a program does.
void teach_config_words();

}  // namespace lora_dist
