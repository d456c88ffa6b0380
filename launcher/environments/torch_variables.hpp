// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT: the words in which
// PyTorch's launchers tell a process its place.
#pragma once

#include "core/ranks/world.hpp"

namespace lora_dist {

/// The place these variables name. Where LOCAL_RANK or LOCAL_WORLD_SIZE is not set, the ranks have
/// to find their neighbours by themselves (WorldInfo::knows_neighbours).
///
/// Errors  ConfigError: one is missing, no number or beyond its size.
WorldInfo world_of_torch_variables(const char* launcher);

/// MASTER_PORT, or torchrun's own default. Errors  ConfigError: no port.
int master_port();

}  // namespace lora_dist
