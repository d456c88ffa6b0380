// The command that a person typed, for those who want to repeat a run.
#pragma once

#include <string>
#include <vector>

#include "core/ranks/world.hpp"

namespace lora_dist {

/// This process's command line as a shell takes it; of a rank that --ranks started, the one that
/// started it.
std::string typed_command(const WorldInfo& world);

/// Tells the ranks that this process is about to start what was typed.
void hand_on_typed_command();

/// Words as a shell takes them.
std::string shell_text(const std::vector<std::string>& words);

}  // namespace lora_dist
