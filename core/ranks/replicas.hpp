// Adapter and optimizer are the same on every rank, bit for bit, and this is where that is seen.
//
// A bit that memory lost, or a mistake of ours, would otherwise train W slightly different adapters
// and keep rank 0's.
#pragma once

#include "core/optimizers/optimizer.hpp"
#include "core/sockets/communicator.hpp"
#include "core/training/trainable_params.hpp"

namespace lora_dist {

/// Compares a SHA-256 of adapter and optimizer state over ranks, after `step` steps.
///
/// Ranks   collective. Sends 64 bytes, and more only where something differs.
/// Errors  NumericsError, the same line on every rank: the odd rank and the first tensor that
/// differs, adapter first; CommError.
void require_equal_replicas(Communicator& world, const TrainableParams& params,
                            const Optimizer& optimizer, int64_t step);

}  // namespace lora_dist
