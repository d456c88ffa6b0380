// The GPU's row kernels (core/ops/cuda/row_kernels.inc) built for the host: one std::thread stands
// in for each thread of a block, barriers for __syncthreads and for the exchanges of a warp, so
// arithmetic, indices and the order of a block's threads are tested without a GPU. Under tsan a
// missing barrier shows as a race.
//
// Blocks are small and the grid is smaller than the number of rows: every loop goes round.
#pragma once

#include "core/ops/cuda/row_kernels.hpp"

namespace lora_dist::cuda {

/// Pointers are the host's; the stream is not looked at.
extern const RowKernels host_row_kernels;

}  // namespace lora_dist::cuda
