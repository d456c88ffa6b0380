// A whole base on one device: the frozen weights of `sharding: none`.
#pragma once

#include <memory>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// Copies every weight of `source` to `device`, also where the source's own memory is there.
/// `source` must outlive it. Errors  c10::OutOfMemoryError.
std::unique_ptr<WeightSource> make_resident_weights(WeightSource& source, at::Device device);

}  // namespace lora_dist
