// A run that does not fit into memory ends here, before anything is allocated for it.
#pragma once

#include "core/planning/fit.hpp"
#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// What find_fit() finds with the memory of the rank that has least: all ranks run alike. Warns
/// where a mapped base does not stay in memory.
///
/// Ranks   collective. Errors  MemoryError, the same line on all ranks.
Fit require_fit(FitRequest request, at::Device device, Communicator& world);

}  // namespace lora_dist
