// The ranks of a run, brought together: threads set, backend chosen, configs compared.
#pragma once

#include <memory>

#include "core/communicator.hpp"
#include "core/config.hpp"

namespace lora_dist {

/// Ranks   collective. World size 1 never touches MPI.
/// Errors  ConfigError: the ranks' configs differ, the named backend is not to be had; CommError.
std::unique_ptr<Communicator> join_world(const Config& config, const WorldInfo& world);

}  // namespace lora_dist
