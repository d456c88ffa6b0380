// A frozen base of which every rank holds one slice, gathered unit by unit as the model runs.
#pragma once

#include <memory>

#include "core/sockets/communicator.hpp"
#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Reads this rank's slice of `files` into memory of its own on `device` (peak while loading: the
/// slice and one weight) and gathers over `group`. Weights in no unit cannot be acquired, vectors
/// always can. Files and group outlive the source; the communicator may be used between passes, not
/// within one.
///
/// Ranks   not a collective itself; every pass is one, of all ranks of `group`.
/// Errors  StorageError, ModelError of `files`.
std::unique_ptr<WeightSource> make_sharded_weights(WeightSource& files, const WeightUnits& units,
                                                   Communicator& group,
                                                   at::Device device = at::kCPU);

}  // namespace lora_dist
