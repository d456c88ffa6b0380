#include "core/ops/blocked_attention.hpp"

#include "core/base/error.hpp"
#include "core/ops/attention_blocks.hpp"
#include "core/ops/contiguous_rows.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops::blocked {
namespace {

using kernels::table;

// Query rows of a block. Fewer waste less beyond the diagonal, more make faster products.
constexpr int64_t kBlockRows = 48;

/// A matrix in fp32; a row's elements are `column` apart.
struct Matrix {
  float* data;
  int64_t rows, columns;
  int64_t row, column = 1;

  Matrix rows_of(int64_t first, int64_t count) const {
    return {data + first * row, count, columns, row, column};
  }
  Matrix columns_of(int64_t first, int64_t count) const {
    return {data + first * column, rows, count, row, column};
  }
  Matrix transposed() const { return {data, columns, rows, column, row}; }
};

Matrix matrix_of(const at::Tensor& x) {
  return {x.data_ptr<float>(), x.size(0), x.size(1), x.stride(0), x.stride(1)};
}

enum class Write { replace, add };

/// c (+)= a b.
void multiply(const Matrix& a, const Matrix& b, const Matrix& c, Write write = Write::replace) {
  LD_CHECK((b.column == 1 || b.columns == 1) && (c.column == 1 || c.columns == 1),
           "a small product reads and writes whole rows");
  table().small_product({.m = c.rows,
                         .n = c.columns,
                         .k = a.columns,
                         .a = a.data,
                         .a_row = a.row,
                         .a_col = a.column,
                         .b = b.data,
                         .b_row = b.row,
                         .c = c.data,
                         .c_row = c.row,
                         .accumulate = write == Write::add});
}

/// One head of one sequence as (tokens, head_dim) in fp32; a view where that is how it is stored
/// (a concatenation may lie in another order).
at::Tensor head_of(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  return with_contiguous_rows(x_BTNH.select(0, sequence).select(1, head).to(at::kFloat));
}

/// The same to write to; store_head() puts it where it belongs.
at::Tensor room_for_head(const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  const at::Tensor place = x_BTNH.select(0, sequence).select(1, head);
  return place.scalar_type() == at::kFloat ? place : at::empty(place.sizes(), at::kFloat);
}
void store_head(const at::Tensor& x_TH, const at::Tensor& x_BTNH, int64_t sequence, int64_t head) {
  if (x_BTNH.scalar_type() != at::kFloat) x_BTNH.select(0, sequence).select(1, head).copy_(x_TH);
}

}  // namespace

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const AttentionBlocks layout(q_BTNH, k_BSKH, options, {.rows = kBlockRows});
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const at::Tensor out_BTNH = at::empty(q_BTNH.sizes(), q_BTNH.options());
  const at::Tensor log_sum_BNT = at::empty({q_BTNH.size(0), heads, tokens}, at::kFloat);
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BSKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_HS = head_of(k_BSKH, sequence, kv_head).t().contiguous();
    const at::Tensor v_SH = head_of(v_BSKH, sequence, kv_head);
    const at::Tensor room = at::empty({layout.largest}, at::kFloat);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = head_of(q_BTNH, sequence, head);
      const at::Tensor out_TH = room_for_head(out_BTNH, sequence, head);
      float* log_sums = log_sum_BNT.data_ptr<float>() + (sequence * heads + head) * tokens;
      for (const AttentionBlock& block : layout.blocks[sequence]) {
        const Matrix q = matrix_of(q_TH).rows_of(block.row, block.rows);
        const Matrix weights{room.data_ptr<float>(), block.rows, block.width, block.width};
        multiply(q, matrix_of(k_HS).columns_of(block.key, block.width), weights);
        table().attention_weights(weights.data, scale, softcap, block.first.data(),
                                  block.last.data(), log_sums + block.row, block.rows, block.width);
        multiply(weights, matrix_of(v_SH).rows_of(block.key, block.width),
                 matrix_of(out_TH).rows_of(block.row, block.rows));
      }
      store_head(out_TH, out_BTNH, sequence, head);
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
  const AttentionBlocks layout(q_BTNH, k_BTKH, options, {.rows = kBlockRows});
  const int64_t heads = q_BTNH.size(2), tokens = q_BTNH.size(1), group = layout.group;
  const int64_t head_dim = layout.head_dim;
  AttentionGradients gradients{at::empty(q_BTNH.sizes(), q_BTNH.options()),
                               at::empty(k_BTKH.sizes(), k_BTKH.options()),
                               at::empty(v_BTKH.sizes(), v_BTKH.options())};
  const auto scale = static_cast<float>(options.scale);
  const auto softcap = static_cast<float>(options.softcap);
  for_each_kv_head(k_BTKH, [&](int64_t sequence, int64_t kv_head) {
    const at::Tensor k_TH = head_of(k_BTKH, sequence, kv_head);
    const at::Tensor k_HT = k_TH.t().contiguous();
    const at::Tensor v_HT = head_of(v_BTKH, sequence, kv_head).t().contiguous();
    const at::Tensor dk_TH = room_for_head(gradients.dk_BTKH, sequence, kv_head).zero_();
    const at::Tensor dv_TH = room_for_head(gradients.dv_BTKH, sequence, kv_head).zero_();
    const at::Tensor room = at::empty({(softcap > 0 ? 3 : 2) * layout.largest}, at::kFloat);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      const at::Tensor q_TH = head_of(q_BTNH, sequence, head);
      const at::Tensor out_TH = head_of(forward.out_BTNH, sequence, head);
      const at::Tensor dout_TH = head_of(dout_BTNH, sequence, head);
      const at::Tensor dq_TH = room_for_head(gradients.dq_BTNH, sequence, head);
      const float* log_sums =
          forward.log_sum_BNT.const_data_ptr<float>() + (sequence * heads + head) * tokens;
      for (const AttentionBlock& block : layout.blocks[sequence]) {
        const auto rows_of = [&](const at::Tensor& x_TH) {
          return matrix_of(x_TH).rows_of(block.row, block.rows);
        };
        const auto keys_of = [&](const at::Tensor& x_TH) {
          return matrix_of(x_TH).rows_of(block.key, block.width);
        };
        const auto key_columns_of = [&](const at::Tensor& x_HT) {
          return matrix_of(x_HT).columns_of(block.key, block.width);
        };
        float* data = room.data_ptr<float>();
        const Matrix weights{data, block.rows, block.width, block.width};
        const Matrix dscores{data + layout.largest, block.rows, block.width, block.width};
        float* slopes = softcap > 0 ? data + 2 * layout.largest : nullptr;
        const Matrix q = rows_of(q_TH), out = rows_of(out_TH), dout = rows_of(dout_TH);
        multiply(q, key_columns_of(k_HT), weights);
        table().attention_weights_again(weights.data, scale, softcap, block.first.data(),
                                        block.last.data(), log_sums + block.row, slopes, block.rows,
                                        block.width);
        multiply(weights.transposed(), dout, keys_of(dv_TH), Write::add);
        multiply(dout, key_columns_of(v_HT), dscores);
        table().attention_score_gradient(weights.data, dscores.data, slopes, out.data, out.row,
                                         dout.data, dout.row, head_dim, scale, block.rows,
                                         block.width);
        multiply(dscores, keys_of(k_TH), rows_of(dq_TH));
        multiply(dscores.transposed(), q, keys_of(dk_TH), Write::add);
      }
      store_head(dq_TH, gradients.dq_BTNH, sequence, head);
    }
    store_head(dk_TH, gradients.dk_BTKH, sequence, kv_head);
    store_head(dv_TH, gradients.dv_BTKH, sequence, kv_head);
  });
  return gradients;
}

}  // namespace lora_dist::ops::blocked
