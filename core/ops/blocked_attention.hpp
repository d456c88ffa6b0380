// Causal self-attention on the CPU, in blocks of query rows.
//
// The rows of a block see one range of keys: two products make their output, and what lies beyond
// the diagonal or before the window is never multiplied. A block's matrices stay in the second
// cache, where our own small products run as fast as a library's large ones. Against LibTorch's
// flash kernel for the CPU: windows, soft caps and packed rows on the same path. Each key/value
// head belongs to one thread, so the number of threads never changes a bit.
//
// Source  Dao et al. 2022, "FlashAttention", section 3.1 (the backward pass rebuilds the weights
// from the logarithm of the softmax's sum).
#pragma once

#include "core/ops/attention.hpp"

namespace lora_dist::ops::blocked {

/// As ops::attention and ops::attention_backward, for host tensors.
AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options);
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH, const AttentionOptions& options);

}  // namespace lora_dist::ops::blocked
