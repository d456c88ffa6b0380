// The row operations as CUDA kernels, behind launch functions without any of CUDA's types.
//
// Raw pointers of one device and a stream. A reduction belongs to one block, whose size follows
// from the width of a row alone, and adds in one order: the same bits in every run and for any
// number of rows. Element types are float and bf16; sums run in fp32, losses and norms in fp64.
//
// One source (row_kernels.inc) is built by nvcc for the GPU and, in the tests, by the host's
// compiler for threads that stand in for those of a block (tests/support/host_block.hpp).
#pragma once

#include <cstdint>

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::cuda {

using kernels::Activation;
using kernels::DropoutStream;
using kernels::Element;

/// Blocks of the partial sums of sum_of_squares.
inline constexpr int64_t kSquaresBlock = 1 << 14;

/// Neighbours that share a scale in a moment of 8 bits.
inline constexpr int64_t kMomentBlock = 256;

/// A moment of 8-bit AdamW (core/optimizers/adamw8bit.cpp): a value is values[code] * scale.
struct Moment8bit {
  uint8_t* codes;        // one per parameter
  float* scales;         // one per kMomentBlock parameters
  const float* values;   // 256, ascending
  const float* middles;  // 255, [i] between values i and i + 1
};

/// The scalars of a step: m = beta1 m + (1 - beta1) g, v likewise,
/// p = decay p - rate m / (sqrt(v) / root + epsilon).
struct Adamw8bitStep {
  float beta1, beta2, rate, root, decay, epsilon;
};

/// `stream` is a cudaStream_t of the current device. Each function returns at once: null, or why
/// the kernel could not be launched. Matrices are row-major and without gaps, but for the rows that
/// have a stride.
struct RowKernels {
  /// Formulas as in kernels::Table.
  const char* (*rms_norm)(void* stream, Element, const void* x, const float* weight, float offset,
                          float eps, void* y, float* inv_rms, int64_t rows, int64_t width);
  const char* (*rms_norm_backward)(void* stream, Element, const void* x, const float* weight,
                                   float offset, const float* inv_rms, const void* dy, void* dx,
                                   bool accumulate, int64_t rows, int64_t width);
  const char* (*rope)(void* stream, Element, void* x, int64_t row_stride, int64_t heads,
                      int64_t head_dim, int64_t rotary, const float* cos, const float* sin,
                      int64_t tokens, float direction, int64_t rows);
  const char* (*gated)(void* stream, Element, Activation, const void* gate, int64_t gate_stride,
                       const void* up, int64_t up_stride, void* y, int64_t rows, int64_t width);
  /// Gate and up become their gradients.
  const char* (*gated_backward)(void* stream, Element, Activation, void* gate, int64_t gate_stride,
                                void* up, int64_t up_stride, const void* dy, int64_t rows,
                                int64_t width);
  const char* (*cross_entropy)(void* stream, Element, void* logits, const int64_t* labels,
                               double* losses, float softcap, bool gradient, int64_t rows,
                               int64_t width);
  const char* (*dropout)(void* stream, Element, const void* x, void* y, float p, DropoutStream,
                         int64_t rows, int64_t width);
  /// partial[b] is the sum of squares of the b-th kSquaresBlock values.
  const char* (*sum_of_squares)(void* stream, const float* x, double* partial, int64_t count);
  /// *result = the sum of `values`.
  const char* (*sum)(void* stream, const double* values, double* result, int64_t count);

  const char* (*adamw8bit)(void* stream, float* params, const float* gradient, Moment8bit first,
                           Moment8bit second, Adamw8bitStep, int64_t count);

  /// 10 * major + minor of a device; 0 where it has no answer.
  int (*compute_capability)(int device);
};

#ifdef LORA_DIST_CUDA
extern const RowKernels row_kernels;
#endif

}  // namespace lora_dist::cuda
