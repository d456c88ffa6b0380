// Causal self-attention, forward and backward.
//
// On the CPU block by block (blocked_attention); on other devices composed of LibTorch operations
// per head group, so that at most one (T, T) matrix of scores per group is alive.
//
// Shapes: B sequences, T tokens, S keys (past + T), N query heads, K key/value heads, H head width.
#pragma once

namespace lora_dist::ops {

struct AttentionOptions {
  double scale = 1;           // of q k^T
  double softcap = 0;         // 0: none; else scores are softcap * tanh(scores / softcap)
  int64_t window = 0;         // 0: all tokens before; else that many, the position itself included
  at::Tensor starts_BT = {};  // int64, S = T: the first key that each position sees (packed rows);
                              // undefined: 0. Never falls along T
};

struct AttentionResult {
  at::Tensor out_BTNH;
  at::Tensor log_sum_BNT;  // fp32; undefined on the composed path, which needs none
};

/// Position t of the queries is position S - T + t of the keys.
AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options);

struct AttentionGradients {
  at::Tensor dq_BTNH, dk_BTKH, dv_BTKH;
};
/// S = T. `forward` is what attention() returned for the same inputs.
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH, const AttentionOptions& options);

}  // namespace lora_dist::ops
