#include "core/ops/bf16_attention.hpp"

#include "core/ops/attention_blocks.hpp"
#include "core/ops/contiguous_rows.hpp"
#include "core/ops/packed_matrix.hpp"

namespace lora_dist::ops::bf16 {
namespace {

using kernels::bf16_table;
using kernels::padded;
using kernels::table;

constexpr AttentionBlocks::Shape kBlocks{.rows = 64, .key_alignment = 32};

at::Tensor empty_floats(int64_t count) { return at::empty({count}, at::kFloat); }

/// One head of one sequence, (tokens, head_dim); a view where that is how it is stored.
at::Tensor head_of(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  return with_contiguous_rows(x_BTNH.select(0, sequence).select(1, head));
}

/// The same with rows that a product may read up to a multiple of 32 columns: zeros behind the
/// last.
at::Tensor left_operand(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  const at::Tensor x_TH = head_of(x_BTNH, sequence, head);
  const int64_t head_dim = x_TH.size(1);
  if (head_dim == padded(head_dim)) return x_TH;
  const at::Tensor wide = at::zeros({x_TH.size(0), padded(head_dim)}, x_TH.options());
  wide.narrow(1, 0, head_dim).copy_(x_TH);
  return wide;
}

/// c = a b with rows of c side by side; b begins at `right`.
void multiply(const at::Tensor& a, int64_t first_row, int64_t rows, const PackedMatrix& b,
              const uint32_t* right, int64_t columns, float* c) {
  bf16_table().product({.m = rows,
                        .n = columns,
                        .k = padded(a.size(1)),
                        .a = bits_of(a) + first_row * a.stride(0),
                        .a_row = a.stride(0),
                        .b = right,
                        .b_panel_words = b.panel_words(),
                        .c = c,
                        .c_row = columns});
}

/// Room for one block's matrices.
struct Room {
  at::Tensor scores;   // fp32, (rows, width)
  at::Tensor rounded;  // bf16, the same
  at::Tensor out;      // fp32, (rows, padded head_dim)

  explicit Room(const AttentionBlocks& layout)
      : scores(empty_floats(layout.largest)),
        rounded(at::empty({layout.largest}, at::kBFloat16)),
        out(empty_floats(kBlocks.rows * padded(layout.head_dim))) {}

  /// weights (rows, width) in bf16 times b's rows from `block.key` on, rounded to rows of `y`.
  void multiply_weights(const float* weights, const AttentionBlock& block, const PackedMatrix& b,
                        const at::Tensor& y_TH) const {
    const int64_t head_dim = y_TH.size(1);
    bf16_table().round_rows(rows_of(weights, block.rows, block.width, block.width), 1, false,
                            bits_of(rounded), block.width);
    bf16_table().product({.m = block.rows,
                          .n = padded(head_dim),
                          .k = block.width,
                          .a = bits_of(rounded),
                          .a_row = block.width,
                          .b = b.from_row(block.key),
                          .b_panel_words = b.panel_words(),
                          .c = out.data_ptr<float>(),
                          .c_row = padded(head_dim)});
    bf16_table().round_rows(
        rows_of(out.const_data_ptr<float>(), block.rows, head_dim, padded(head_dim)), 1, false,
        bits_of(y_TH) + block.row * y_TH.stride(0), y_TH.stride(0));
  }
};

/// The sum over all query rows of a matrix (keys, head_dim), kept transposed.
class KeySum {
 public:
  KeySum(int64_t head_dim, int64_t keys)
      : sum_HS_(at::zeros({head_dim, padded(keys)}, at::kFloat)) {}

  /// Adds weights^T x for a block; the weights are packed, x_HT is transposed.
  void add(const uint32_t* weights, const at::Tensor& x_HT, const AttentionBlock& block) const {
    bf16_table().product({.m = x_HT.size(0),
                          .n = block.width,
                          .k = padded(block.rows),
                          .a = bits_of(x_HT) + block.row,
                          .a_row = x_HT.stride(0),
                          .b = weights,
                          .b_panel_words = kernels::panel_words_of(block.rows),
                          .c = sum_HS_.data_ptr<float>() + block.key,
                          .c_row = sum_HS_.stride(0),
                          .accumulate = true});
  }
  void store(const at::Tensor& to_SH) const {
    to_SH.copy_(sum_HS_.narrow(1, 0, to_SH.size(0)).t());
  }

 private:
  at::Tensor sum_HS_;
};

}  // namespace

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const AttentionBlocks layout(q_BTNH, k_BSKH, options, kBlocks);
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const at::Tensor out_BTNH = at::empty(q_BTNH.sizes(), q_BTNH.options());
  const at::Tensor log_sum_BNT = at::empty({q_BTNH.size(0), heads, tokens}, at::kFloat);
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BSKH, [&](int64_t sequence, int64_t kv_head) {
    const PackedMatrix k_HS = PackedMatrix::of(head_of(k_BSKH, sequence, kv_head).t());
    const PackedMatrix v_SH = PackedMatrix::of(head_of(v_BSKH, sequence, kv_head));
    const Room room(layout);
    float* weights = room.scores.data_ptr<float>();
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = left_operand(q_BTNH, sequence, head);
      const at::Tensor out_TH = out_BTNH.select(0, sequence).select(1, head);
      float* log_sums = log_sum_BNT.data_ptr<float>() + (sequence * heads + head) * tokens;
      for (const AttentionBlock& block : layout.blocks[sequence]) {
        multiply(q_TH, block.row, block.rows, k_HS, k_HS.from_column(block.key), block.width,
                 weights);
        table().attention_weights(weights, scale, softcap, block.first.data(), block.last.data(),
                                  log_sums + block.row, block.rows, block.width);
        room.multiply_weights(weights, block, v_SH, out_TH);
      }
    }
  });
  return {.out_BTNH = out_BTNH, .log_sum_BNT = log_sum_BNT};
}

// As in blocked_attention.cpp. Sums over query rows are made transposed: dV^T = dout^T P and dK^T =
// Q^T dS, so that the small matrix is the one that is turned.
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const AttentionBlocks layout(q_BTNH, k_BTKH, options, kBlocks);
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const int64_t head_dim = layout.head_dim;
  AttentionGradients gradients{at::empty(q_BTNH.sizes(), q_BTNH.options()),
                               at::empty(k_BTKH.sizes(), k_BTKH.options()),
                               at::empty(v_BTKH.sizes(), v_BTKH.options())};
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BTKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_TH = head_of(k_BTKH, sequence, kv_head);
    const PackedMatrix k = PackedMatrix::of(k_TH), k_HT = PackedMatrix::of(k_TH.t());
    const PackedMatrix v_HT = PackedMatrix::of(head_of(v_BTKH, sequence, kv_head).t());
    const KeySum dk(head_dim, tokens), dv(head_dim, tokens);
    const Room room(layout);
    const PackedMatrix packed(kBlocks.rows, layout.widest);
    const at::Tensor dscores_room = empty_floats(layout.largest);
    const at::Tensor slopes_room = softcap > 0 ? empty_floats(layout.largest) : at::Tensor();
    float* weights = room.scores.data_ptr<float>();
    float* dscores = dscores_room.data_ptr<float>();
    float* slopes = softcap > 0 ? slopes_room.data_ptr<float>() : nullptr;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = left_operand(q_BTNH, sequence, head),
                       q_HT = transposed_left_operand(head_of(q_BTNH, sequence, head));
      const at::Tensor dout_TH = left_operand(dout_BTNH, sequence, head);
      const at::Tensor dout_HT = transposed_left_operand(head_of(dout_BTNH, sequence, head));
      const at::Tensor out = head_of(forward.out_BTNH, sequence, head).to(at::kFloat).contiguous();
      const at::Tensor dout = head_of(dout_BTNH, sequence, head).to(at::kFloat).contiguous();
      const at::Tensor dq_TH = gradients.dq_BTNH.select(0, sequence).select(1, head);
      const float* log_sums =
          forward.log_sum_BNT.const_data_ptr<float>() + (sequence * heads + head) * tokens;
      for (const AttentionBlock& block : layout.blocks[sequence]) {
        multiply(q_TH, block.row, block.rows, k_HT, k_HT.from_column(block.key), block.width,
                 weights);
        table().attention_weights_again(weights, scale, softcap, block.first.data(),
                                        block.last.data(), log_sums + block.row, slopes, block.rows,
                                        block.width);
        bf16_table().pack_rows(rows_of(weights, block.rows, block.width, block.width),
                               packed.words());
        dv.add(packed.words(), dout_HT, block);
        multiply(dout_TH, block.row, block.rows, v_HT, v_HT.from_column(block.key), block.width,
                 dscores);
        table().attention_score_gradient(
            weights, dscores, slopes, out.const_data_ptr<float>() + block.row * head_dim, head_dim,
            dout.const_data_ptr<float>() + block.row * head_dim, head_dim, head_dim, scale,
            block.rows, block.width);
        bf16_table().pack_rows(rows_of(dscores, block.rows, block.width, block.width),
                               packed.words());
        dk.add(packed.words(), q_HT, block);
        room.multiply_weights(dscores, block, k, dq_TH);
      }
    }
    dk.store(gradients.dk_BTKH.select(0, sequence).select(1, kv_head));
    dv.store(gradients.dv_BTKH.select(0, sequence).select(1, kv_head));
  });
  return gradients;
}

}  // namespace lora_dist::ops::bf16
