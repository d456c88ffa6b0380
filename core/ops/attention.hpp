// Causal self-attention, forward and backward.
//
// On the CPU block by block (blocked_attention); on a GPU by LibTorch's FlashAttention kernels
// (flash_attention), or, where they do not fit the problem, composed of LibTorch operations per
// head group, so that at most one (T, T) matrix of scores per group is alive.
//
// Shapes: B sequences, T tokens, S keys (past + T), N query heads, K key/value heads, H head width.
#pragma once

namespace lora_dist::ops {

/// The samples of packed rows as sequences one behind the other.
struct SampleRows {
  at::Tensor first_rows = {};  // int32, contiguous: the row of the B * T rows at which each sample
                               // begins, and B * T behind them; samples may be empty
  int64_t longest = 0;         // rows of the longest sample, or more
};

/// On the host, as `starts_BT` (AttentionOptions) is. Nothing where a position's first key is not
/// where its sample begins.
std::optional<SampleRows> sample_rows(const at::Tensor& starts_BT);
/// Adds samples without rows behind the others, up to a power of two of at least 8: batches of one
/// shape then have few different numbers of samples.
void add_empty_samples(SampleRows& samples);

struct AttentionOptions {
  double scale = 1;           // of q k^T
  double softcap = 0;         // 0: none; else scores are softcap * tanh(scores / softcap)
  int64_t window = 0;         // 0: all tokens before; else that many, the position itself included
  at::Tensor starts_BT = {};  // int64, S = T: the first key that each position sees (packed rows);
                              // undefined: 0. Never falls along T
  SampleRows samples = {};    // sample_rows(starts_BT) on the device of q, for the GPU's kernels;
                              // without it packed rows are composed there
  bool deterministic = true;  // the same bits in every run, on a GPU too
};

struct AttentionResult {
  at::Tensor out_BTNH;
  at::Tensor log_sum_BNT;  // fp32; undefined on the composed path, which needs none. The GPU's
                           // kernels have (N, B * T) for packed rows
  at::Tensor rng_state, unused;  // what the GPU's kernels want to see again; else undefined
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
