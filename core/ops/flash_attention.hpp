// Causal self-attention on a GPU by LibTorch's FlashAttention-2 kernels.
//
// No (T, T) matrix is ever in memory; heads that share keys read them where they are; a window
// skips what lies before it; samples of packed rows are sequences of their own. Soft caps, fp32 and
// GPUs before Ampere stay with the composed path.
//
// Source  Dao 2023, "FlashAttention-2"; aten/src/ATen/native/transformers/cuda/flash_attn of
// PyTorch 2.11 for layouts and limits.
#pragma once

#include "core/ops/attention.hpp"

namespace lora_dist::ops::flash {

/// Whether the kernels take such a problem. `capability` is 10 * major + minor of the GPU, 0 for
/// none.
bool can_run(at::ScalarType dtype, int64_t head_dim, double softcap, int capability);

/// Whether they run attention() for these tensors: can_run(), and rows that lie as they need them.
/// Packed rows have to be samples that begin where `starts_BT` says.
bool runs(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH, const at::Tensor& v_BSKH,
          const AttentionOptions& options);

/// As ops::attention and ops::attention_backward, where runs() holds.
AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options);
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH, const AttentionOptions& options);

}  // namespace lora_dist::ops::flash
