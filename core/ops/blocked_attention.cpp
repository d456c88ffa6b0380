#include "core/ops/blocked_attention.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops::blocked {
namespace {

using kernels::table;

// The rows of a product are those of all heads that share a key/value head: about this many.
constexpr int64_t kProductRows = 256;

/// Query rows of a block. Fewer waste less beyond the diagonal, more make faster products.
int64_t block_rows(int64_t group) {
  return std::clamp<int64_t>(kProductRows / group / 32 * 32, 32, 128);
}

/// Query rows [row, row + rows) of each head and the keys that any of them sees.
struct Block {
  int64_t row, rows;
  int64_t key, width;
  std::vector<int64_t> first, last;  // [i]: columns that row i sees, counted from `key`
};

/// Of one sequence, `rows` at a time; `starts` is [t], or null.
std::vector<Block> blocks_of(int64_t tokens, int64_t keys, int64_t rows, int64_t window,
                             const int64_t* starts) {
  std::vector<Block> blocks;
  for (int64_t row = 0; row < tokens; row += rows) {
    Block block{.row = row, .rows = std::min(rows, tokens - row)};
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

/// What all heads of the attention share.
struct Layout {
  int64_t group, head_dim;
  BlocksOfSequences blocks;
  int64_t largest = 0;  // rows * width of a block

  Layout(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH, const AttentionOptions& options)
      : group(q_BTNH.size(2) / k_BSKH.size(2)), head_dim(q_BTNH.size(3)) {
    const int64_t tokens = q_BTNH.size(1), keys = k_BSKH.size(1), rows = block_rows(group);
    LD_CHECK(!options.starts_BT.defined() || tokens == keys, "packed rows have no past");
    for (int64_t b = 0; b < q_BTNH.size(0); ++b) {
      const int64_t* starts = options.starts_BT.defined()
                                  ? options.starts_BT.const_data_ptr<int64_t>() + b * tokens
                                  : nullptr;
      blocks.push_back(blocks_of(tokens, keys, rows, options.window, starts));
      for (const Block& block : blocks.back())
        largest = std::max(largest, block.rows * block.width);
    }
  }
};

/// Room for a matrix of a block: (heads of the group * rows, columns), fp32.
class Room {
 public:
  Room(int64_t group, int64_t size)
      : group_(group), buffer_(at::empty({group * size}, at::kFloat)) {}

  at::Tensor of(const Block& block, int64_t columns) const {
    const int64_t rows = group_ * block.rows;
    return buffer_.narrow(0, 0, rows * columns).view({rows, columns});
  }

  /// The block's rows of the group's heads, head by head.
  at::Tensor filled(const at::Tensor& x_BTNH, int64_t sequence, int64_t kv_head,
                    const Block& block) const {
    at::Tensor rows = of(block, x_BTNH.size(3));
    by_head(rows, block).copy_(place_of(x_BTNH, sequence, kv_head, block));
    return rows;
  }

  /// Puts them back.
  void store(const at::Tensor& rows, const at::Tensor& x_BTNH, int64_t sequence, int64_t kv_head,
             const Block& block) const {
    place_of(x_BTNH, sequence, kv_head, block).copy_(by_head(rows, block));
  }

 private:
  at::Tensor by_head(const at::Tensor& rows, const Block& block) const {
    return rows.view({group_, block.rows, -1});
  }
  at::Tensor place_of(const at::Tensor& x_BTNH, int64_t sequence, int64_t kv_head,
                      const Block& block) const {
    return x_BTNH.select(0, sequence)
        .narrow(0, block.row, block.rows)
        .narrow(1, kv_head * group_, group_)
        .transpose(0, 1);
  }

  int64_t group_;
  at::Tensor buffer_;
};

/// One key/value head of one sequence as (tokens, head_dim) in fp32; a view where the storage is
/// fp32.
at::Tensor head_of(const at::Tensor& x_BSKH, int64_t sequence, int64_t kv_head) {
  return x_BSKH.select(0, sequence).select(1, kv_head).to(at::kFloat);
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
  const Layout layout(q_BTNH, k_BSKH, options);
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const at::Tensor out_BTNH = at::empty(q_BTNH.sizes(), q_BTNH.options());
  const at::Tensor log_sum_BNT = at::empty({q_BTNH.size(0), heads, tokens}, at::kFloat);
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BSKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_SH = head_of(k_BSKH, sequence, kv_head);
    const at::Tensor v_SH = head_of(v_BSKH, sequence, kv_head);
    const int64_t size = block_rows(group) * layout.head_dim;
    const Room weights_room(group, layout.largest), q_room(group, size), out_room(group, size);
    float* log_sums = log_sum_BNT.data_ptr<float>() + (sequence * heads + kv_head * group) * tokens;
    for (const Block& block : layout.blocks[sequence]) {
      const at::Tensor q = q_room.filled(q_BTNH, sequence, kv_head, block);
      at::Tensor weights = weights_room.of(block, block.width);
      at::mm_out(weights, q, keys_of(k_SH, block).t());
      for (int64_t head = 0; head < group; ++head)
        table().attention_weights(weights.data_ptr<float>() + head * block.rows * block.width,
                                  scale, softcap, block.first.data(), block.last.data(),
                                  log_sums + head * tokens + block.row, block.rows, block.width);
      at::Tensor out = out_room.of(block, layout.head_dim);
      at::mm_out(out, weights, keys_of(v_SH, block));
      out_room.store(out, out_BTNH, sequence, kv_head, block);
    }
  });
  return {.out_BTNH = out_BTNH, .log_sum_BNT = log_sum_BNT};
}

// With P the weights, S the scores and D = dot(out, dout) of each row:
// dV = P^T dout, dP = dout V^T, dS = P (dP - D) scale, dQ = dS K, dK = dS^T Q.
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const Layout layout(q_BTNH, k_BTKH, options);
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const int64_t head_dim = layout.head_dim;
  AttentionGradients gradients{at::empty(q_BTNH.sizes(), q_BTNH.options()),
                               at::empty(k_BTKH.sizes(), k_BTKH.options()),
                               at::empty(v_BTKH.sizes(), v_BTKH.options())};
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BTKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_TH = head_of(k_BTKH, sequence, kv_head);
    const at::Tensor v_TH = head_of(v_BTKH, sequence, kv_head);
    const at::Tensor dk_TH = at::zeros(k_TH.sizes(), at::kFloat), dv_TH = at::zeros_like(dk_TH);
    const int64_t size = block_rows(group) * head_dim;
    const Room weights_room(group, layout.largest), gradient_room(group, layout.largest),
        slope_room(group, softcap > 0 ? layout.largest : 0);
    const Room q_room(group, size), out_room(group, size), dout_room(group, size),
        dq_room(group, size);
    const float* log_sums =
        forward.log_sum_BNT.const_data_ptr<float>() + (sequence * heads + kv_head * group) * tokens;
    for (const Block& block : layout.blocks[sequence]) {
      const at::Tensor q = q_room.filled(q_BTNH, sequence, kv_head, block);
      const at::Tensor out = out_room.filled(forward.out_BTNH, sequence, kv_head, block);
      const at::Tensor dout = dout_room.filled(dout_BTNH, sequence, kv_head, block);
      at::Tensor weights = weights_room.of(block, block.width);
      at::Tensor dscores = gradient_room.of(block, block.width);
      float* slopes = softcap > 0 ? slope_room.of(block, block.width).data_ptr<float>() : nullptr;
      at::mm_out(weights, q, keys_of(k_TH, block).t());
      for (int64_t head = 0; head < group; ++head) {
        const int64_t begin = head * block.rows * block.width;
        table().attention_weights_again(weights.data_ptr<float>() + begin, scale, softcap,
                                        block.first.data(), block.last.data(),
                                        log_sums + head * tokens + block.row,
                                        slopes ? slopes + begin : nullptr, block.rows, block.width);
      }
      keys_of(dv_TH, block).addmm_(weights.t(), dout);
      at::mm_out(dscores, dout, keys_of(v_TH, block).t());
      table().attention_score_gradient(weights.const_data_ptr<float>(), dscores.data_ptr<float>(),
                                       slopes, out.const_data_ptr<float>(), head_dim,
                                       dout.const_data_ptr<float>(), head_dim, head_dim, scale,
                                       group * block.rows, block.width);
      at::Tensor dq = dq_room.of(block, head_dim);
      at::mm_out(dq, dscores, keys_of(k_TH, block));
      dq_room.store(dq, gradients.dq_BTNH, sequence, kv_head, block);
      keys_of(dk_TH, block).addmm_(dscores.t(), q);
    }
    gradients.dk_BTKH.select(0, sequence).select(1, kv_head).copy_(dk_TH);
    gradients.dv_BTKH.select(0, sequence).select(1, kv_head).copy_(dv_TH);
  });
  return gradients;
}

}  // namespace lora_dist::ops::blocked
