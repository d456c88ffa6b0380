// The row kernels for the GPU: what row_kernels.inc needs of the language, in CUDA's words.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace lora_dist::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;  // of a block

__device__ uint16_t bf16_bits(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

/// Null, or why not.
template <class... Params, class... Args>
const char* launch(void (*kernel)(Params...), int64_t blocks, int threads, void* stream,
                   Args... args) {
  if (blocks == 0) return nullptr;
  kernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(args...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

int compute_capability(int device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();  // taken note of: the next launch must not report it
    return 0;
  }
  return 10 * major + minor;
}

}  // namespace
}  // namespace lora_dist::cuda

#define LORA_DIST_ROW_KERNELS_NAME row_kernels
#include "core/ops/cuda/row_kernels.inc"
