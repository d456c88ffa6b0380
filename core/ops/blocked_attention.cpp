#include "core/ops/blocked_attention.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops::blocked {
namespace {

using kernels::table;

constexpr int64_t kBlockRows = 128;

/// Query rows [row, row + rows) of a head and the keys that any of them sees.
struct Block {
  int64_t row, rows;
  int64_t key, width;
  std::vector<int64_t> first, last;  // [i]: columns that row i sees, counted from `key`
};

/// Of one sequence; `starts` is [t], or null.
std::vector<Block> blocks_of(int64_t tokens, int64_t keys, int64_t window, const int64_t* starts) {
  std::vector<Block> blocks;
  for (int64_t row = 0; row < tokens; row += kBlockRows) {
    Block block{.row = row, .rows = std::min(kBlockRows, tokens - row)};
    const int64_t position = keys - tokens + row;  // of the block's first row among the keys
    const auto first_key = [&](int64_t i) {
      const int64_t start = starts ? starts[row + i] : 0;
      return window > 0 ? std::max(start, position + i - window + 1) : start;
    };
    block.key = first_key(0);
    block.width = position + block.rows - block.key;
    for (int64_t i = 0; i < block.rows; ++i) {
      block.first.push_back(first_key(i) - block.key);
      block.last.push_back(position + i + 1 - block.key);
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

using BlocksOfSequences = std::vector<std::vector<Block>>;  // [b]

BlocksOfSequences blocks_of_sequences(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                                      const AttentionOptions& options) {
  const int64_t tokens = q_BTNH.size(1), keys = k_BSKH.size(1);
  if (!options.starts_BT.defined())
    return BlocksOfSequences(q_BTNH.size(0), blocks_of(tokens, keys, options.window, nullptr));
  LD_CHECK(tokens == keys, "packed rows have no past");
  BlocksOfSequences all;
  for (int64_t b = 0; b < q_BTNH.size(0); ++b)
    all.push_back(blocks_of(tokens, keys, options.window,
                            options.starts_BT.const_data_ptr<int64_t>() + b * tokens));
  return all;
}

int64_t largest_block(const BlocksOfSequences& sequences) {
  int64_t largest = 0;
  for (const std::vector<Block>& blocks : sequences)
    for (const Block& block : blocks) largest = std::max(largest, block.rows * block.width);
  return largest;
}

/// Room for a matrix of any block.
class Matrix {
 public:
  explicit Matrix(int64_t size) : buffer_(at::empty({size}, at::kFloat)) {}
  at::Tensor of(const Block& block) const {
    return buffer_.narrow(0, 0, block.rows * block.width).view({block.rows, block.width});
  }

 private:
  at::Tensor buffer_;
};

/// One head of one sequence as (tokens, head_dim) in fp32; a view where the storage is fp32.
at::Tensor head_of(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  return x_BTNH.select(0, sequence).select(1, head).to(at::kFloat);
}

/// Where a head's fp32 result is written: into `x_BTNH` itself, or beside it for store().
at::Tensor room_for_head(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  const at::Tensor place = x_BTNH.select(0, sequence).select(1, head);
  return place.scalar_type() == at::kFloat ? place : at::empty(place.sizes(), at::kFloat);
}

void store(const at::Tensor& values, const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  if (x_BTNH.scalar_type() == at::kFloat && values.stride(0) == x_BTNH.stride(1)) return;
  x_BTNH.select(0, sequence).select(1, head).copy_(values);
}

at::Tensor rows_of(const at::Tensor& x_TH, const Block& block) {
  return x_TH.narrow(0, block.row, block.rows);
}
at::Tensor keys_of(const at::Tensor& x_SH, const Block& block) {
  return x_SH.narrow(0, block.key, block.width);
}

/// Calls body(sequence, kv_head) for all of them, spread over the threads.
template <class Body>
void for_each_kv_head(const at::Tensor& k_BSKH, Body&& body) {
  const int64_t heads = k_BSKH.size(2);
  kernels::parallel_rows(k_BSKH.size(0) * heads, /*grain=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) body(task / heads, task % heads);
  });
}

}  // namespace

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const int64_t tokens = q_BTNH.size(1), group = q_BTNH.size(2) / k_BSKH.size(2);
  const BlocksOfSequences blocks = blocks_of_sequences(q_BTNH, k_BSKH, options);
  const int64_t largest = largest_block(blocks);
  const at::Tensor out_BTNH = at::empty(q_BTNH.sizes(), q_BTNH.options());
  const at::Tensor log_sum_BNT = at::empty({q_BTNH.size(0), q_BTNH.size(2), tokens}, at::kFloat);
  for_each_kv_head(k_BSKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_SH = head_of(k_BSKH, sequence, kv_head);
    const at::Tensor v_SH = head_of(v_BSKH, sequence, kv_head);
    const Matrix room(largest);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = head_of(q_BTNH, sequence, head);
      const at::Tensor out_TH = room_for_head(out_BTNH, sequence, head);
      float* log_sums = log_sum_BNT.data_ptr<float>() + (sequence * q_BTNH.size(2) + head) * tokens;
      for (const Block& block : blocks[sequence]) {
        at::Tensor scores = room.of(block), out = rows_of(out_TH, block);
        at::mm_out(scores, rows_of(q_TH, block), keys_of(k_SH, block).t());
        table().attention_weights(scores.data_ptr<float>(), static_cast<float>(options.scale),
                                  static_cast<float>(options.softcap), block.first.data(),
                                  block.last.data(), log_sums + block.row, block.rows, block.width);
        at::mm_out(out, scores, keys_of(v_SH, block));
      }
      store(out_TH, out_BTNH, sequence, head);
    }
  });
  return {out_BTNH, log_sum_BNT};
}

// With P the weights, S the scores and D = dot(out, dout) of each row:
// dV = P^T dout, dP = dout V^T, dS = P (dP - D) scale, dQ = dS K, dK = dS^T Q.
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const int64_t tokens = q_BTNH.size(1), group = q_BTNH.size(2) / k_BTKH.size(2);
  const BlocksOfSequences blocks = blocks_of_sequences(q_BTNH, k_BTKH, options);
  const int64_t largest = largest_block(blocks);
  AttentionGradients gradients{at::empty(q_BTNH.sizes(), q_BTNH.options()),
                               at::empty(k_BTKH.sizes(), k_BTKH.options()),
                               at::empty(v_BTKH.sizes(), v_BTKH.options())};
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BTKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_TH = head_of(k_BTKH, sequence, kv_head);
    const at::Tensor v_TH = head_of(v_BTKH, sequence, kv_head);
    const at::Tensor dk_TH = at::zeros(k_TH.sizes(), at::kFloat), dv_TH = at::zeros_like(dk_TH);
    const Matrix weights_room(largest), gradient_room(largest),
        slope_room(softcap > 0 ? largest : 0);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = head_of(q_BTNH, sequence, head);
      const at::Tensor out_TH = head_of(forward.out_BTNH, sequence, head);
      const at::Tensor dout_TH = head_of(dout_BTNH, sequence, head);
      const at::Tensor dq_TH = room_for_head(gradients.dq_BTNH, sequence, head);
      const float* log_sums =
          forward.log_sum_BNT.const_data_ptr<float>() + (sequence * q_BTNH.size(2) + head) * tokens;
      for (const Block& block : blocks[sequence]) {
        const at::Tensor q = rows_of(q_TH, block), out = rows_of(out_TH, block);
        const at::Tensor dout = rows_of(dout_TH, block);
        at::Tensor weights = weights_room.of(block), dscores = gradient_room.of(block);
        float* slopes = softcap > 0 ? slope_room.of(block).data_ptr<float>() : nullptr;
        at::mm_out(weights, q, keys_of(k_TH, block).t());
        table().attention_weights_again(weights.data_ptr<float>(), scale, softcap,
                                        block.first.data(), block.last.data(), log_sums + block.row,
                                        slopes, block.rows, block.width);
        keys_of(dv_TH, block).addmm_(weights.t(), dout);
        at::mm_out(dscores, dout, keys_of(v_TH, block).t());
        table().attention_score_gradient(weights.const_data_ptr<float>(), dscores.data_ptr<float>(),
                                         slopes, out.const_data_ptr<float>(), out.stride(0),
                                         dout.const_data_ptr<float>(), dout.stride(0), q.size(1),
                                         scale, block.rows, block.width);
        at::Tensor dq = rows_of(dq_TH, block);
        at::mm_out(dq, dscores, keys_of(k_TH, block));
        keys_of(dk_TH, block).addmm_(dscores.t(), q);
      }
      store(dq_TH, gradients.dq_BTNH, sequence, head);
    }
    gradients.dk_BTKH.select(0, sequence).select(1, kv_head).copy_(dk_TH);
    gradients.dv_BTKH.select(0, sequence).select(1, kv_head).copy_(dv_TH);
  });
  return gradients;
}

}  // namespace lora_dist::ops::blocked
