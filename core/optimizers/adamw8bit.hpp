// AdamW with moments of 8 bits by given kernels; the registry takes those of the parameters'
// device.
#pragma once

#include "core/ops/cuda/rows.hpp"
#include "core/optimizers/optimizer.hpp"

namespace lora_dist {

/// `rows` outlives it; null: updated on the host.
std::unique_ptr<Optimizer> make_adamw8bit(OptimizerArgs args, const ops::cuda::Rows* rows);

}  // namespace lora_dist
