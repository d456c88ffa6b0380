#include "tests/support/host_row_kernels.hpp"

#include <algorithm>
#include <barrier>
#include <bit>
#include <cmath>
#include <deque>
#include <thread>
#include <vector>

namespace lora_dist::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMostThreads = 64;  // of a block: two warps
constexpr unsigned kMostBlocks = 3;

struct Place {
  unsigned x = 0;
};
thread_local Place threadIdx, blockIdx;
Place blockDim, gridDim;

/// The barriers of the block that runs; there is one at a time.
struct HostBlock {
  explicit HostBlock(int threads) : all(threads) {
    for (int warp = 0; warp < threads / kWarp; ++warp) warps.emplace_back(kWarp);
  }
  std::barrier<> all;
  std::deque<std::barrier<>> warps;
};
HostBlock* host_block = nullptr;

void __syncthreads() { host_block->all.arrive_and_wait(); }

template <class T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int step) {
  static T exchanged[kMostThreads];
  std::barrier<>& warp = host_block->warps[threadIdx.x / kWarp];
  exchanged[threadIdx.x] = value;
  warp.arrive_and_wait();
  const T other = exchanged[threadIdx.x ^ static_cast<unsigned>(step)];
  warp.arrive_and_wait();
  return other;
}

uint16_t bf16_bits(float value) {  // to nearest, ties to even; NaN stays NaN
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <class... Params, class... Args>
const char* launch(void (*kernel)(Params...), int64_t blocks, int threads, void* /*stream*/,
                   Args... args) {
  HostBlock block(threads);
  host_block = &block;
  blockDim.x = static_cast<unsigned>(threads);
  gridDim.x = static_cast<unsigned>(std::min<int64_t>(blocks, kMostBlocks));
  std::vector<std::thread> workers;
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      threadIdx.x = static_cast<unsigned>(thread);
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
        kernel(args...);
        __syncthreads();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  return nullptr;
}

int compute_capability(int /*device*/) { return 0; }

}  // namespace
}  // namespace lora_dist::cuda

#define __global__
#define __device__
#define __shared__ static
#define LORA_DIST_ROW_KERNELS_NAME host_row_kernels
#include "core/ops/cuda/row_kernels.inc"
#undef LORA_DIST_ROW_KERNELS_NAME
#undef __shared__
#undef __device__
#undef __global__
