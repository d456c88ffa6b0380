// Causal self-attention on processors that multiply bf16: blocked_attention with its products in
// bf16.
//
// Weights and their gradients are rounded to bf16 before they are multiplied, as flash kernels do;
// the softmax and all sums are fp32. Each key/value head belongs to one thread.
#pragma once

#include "core/ops/attention.hpp"

namespace lora_dist::ops::bf16 {

/// As ops::attention and ops::attention_backward, for bf16 tensors of the host.
AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options);
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH, const AttentionOptions& options);

}  // namespace lora_dist::ops::bf16
