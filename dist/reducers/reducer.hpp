// The registry of gradient reducers: tree (order-free sums, the default) and all_reduce (the
// backend's own order).
#pragma once

#include <functional>
#include <memory>

#include "core/base/registry.hpp"
#include "core/sockets/communicator.hpp"
#include "core/sockets/gradient_reducer.hpp"
#include "core/summing/tree_levels.hpp"

namespace lora_dist {

struct ReducerArgs {
  Communicator& world;
  int64_t num_elements = 0;      // of the flat gradient
  at::Device device = at::kCPU;  // where gradients come from and sums go
  int64_t bucket_elements = kBucketElements;
};
/// Ranks   making one is a collective, and so is every use of it.
using ReducerFactory = std::function<std::unique_ptr<GradientReducer>(const ReducerArgs&)>;
const Registry<ReducerFactory>& reducers();

}  // namespace lora_dist
