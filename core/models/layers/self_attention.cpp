#include "core/models/layers/self_attention.hpp"

#include <algorithm>

#include "core/ops/flash_attention.hpp"

namespace lora_dist {
namespace {

// The module names of transformers.
const std::vector<std::string> kSeparate = {"q_proj", "k_proj", "v_proj"}, kFused = {"qkv_proj"};
constexpr const char *kOutput = "o_proj", *kQueryNorm = "q_norm", *kKeyNorm = "k_norm";

// Multiprocessors of a GPU, 132 on H100 and H200: FlashAttention's backward makes as many partial
// sums as occupy them all.
constexpr int64_t kMultiprocessors = 132;

const std::vector<std::string>& input_names(const AttentionSpec& spec) {
  return spec.is_fused ? kFused : kSeparate;
}

std::vector<Linear> input_linears(const AttentionSpec& spec, const WeightScope& weights) {
  std::vector<Linear> linears;
  for (const std::string& name : input_names(spec))
    linears.push_back(weights.linear(name, spec.qkv_bias));
  return linears;
}

// (N, heads * H) rows to (B, T, heads, H), a view.
at::Tensor as_heads(const at::Tensor& x, const SequenceContext& context, int64_t head_dim) {
  return x.unflatten(1, {-1, head_dim}).unflatten(0, {context.batch, context.tokens});
}

// Back to (N, heads * H) rows.
at::Tensor as_rows(const at::Tensor& x_BTNH) {
  return x_BTNH.contiguous().flatten(2, 3).flatten(0, 1);
}

// Temporaries of FlashAttention's backward pass on a GPU. It adds up the queries' gradients in a
// buffer of fp32, in which every row is rounded up to a multiple of 128 tokens and every head to
// one of 32 features (64 for wide heads); summing in a fixed order takes several such buffers.
// Where heads share keys, each head has gradients of keys and values of its own until they are
// added. In packed rows each sample is rounded up by itself, which is not counted.
int64_t flash_backward_bytes(const AttentionSpec& spec, const PassShape& shape) {
  if (!shape.on_gpu || shape.compute_bytes != 2 ||
      !ops::flash::can_run(at::kBFloat16, spec.head_dim, spec.softcap, /*capability=*/80))
    return 0;
  const auto rounded = [](int64_t count, int64_t to) { return (count + to - 1) / to * to; };
  const int64_t heads = shape.batch_size * spec.num_heads;
  const int64_t num_sums = shape.deterministic ? (kMultiprocessors + heads - 1) / heads : 1;
  const int64_t sums = heads * rounded(shape.tokens, 128) *
                       (num_sums * rounded(spec.head_dim, spec.head_dim <= 128 ? 32 : 64) + 1) * 4;
  return sums + (spec.num_kv_heads < spec.num_heads ? 2 * shape.activation(spec.query_width()) : 0);
}

// Positions that a position attends to, on average over a sequence.
double mean_keys(int64_t window, int64_t tokens) {
  const auto length = static_cast<double>(tokens);
  if (window <= 0 || window >= tokens) return length / 2;
  const auto seen = static_cast<double>(window);
  return seen - seen * seen / (2 * length);
}

}  // namespace

void add_attention_rows(const AttentionSpec& spec, const TableScope& table) {
  const int64_t q = spec.query_width(), kv = spec.kv_width();
  if (spec.query_key_norm) {
    table.norm(kQueryNorm, spec.head_dim);
    table.norm(kKeyNorm, spec.head_dim);
  }
  const std::vector<int64_t> widths =
      spec.is_fused ? std::vector<int64_t>{q + 2 * kv} : std::vector<int64_t>{q, kv, kv};
  for (size_t i = 0; i < widths.size(); ++i)
    table.linear(input_names(spec)[i], widths[i], spec.width, spec.qkv_bias);
  table.linear(kOutput, spec.width, q, spec.output_bias);
}

LayerCost attention_cost(const AttentionSpec& spec, const std::string& path, const PassShape& shape,
                         const AdapterLoadOf& adapters) {
  const int64_t d = shape.activation(spec.width), q = shape.activation(spec.query_width()),
                kv = shape.activation(spec.kv_width());
  std::vector<std::string> inputs;
  for (const std::string& name : input_names(spec)) inputs.push_back(path + "." + name);
  const double matrices = static_cast<double>(spec.width) *
                          static_cast<double>(2 * spec.query_width() + 2 * spec.kv_width());
  const double scores =
      static_cast<double>(spec.query_width()) * mean_keys(spec.window, shape.tokens);
  LayerCost cost;
  // q, k, v rotated; the attention's result with one number for each row and head.
  cost.kept_bytes = 2 * q + 2 * kv + 4 * shape.rows() * spec.num_heads;
  if (spec.query_key_norm) cost.kept_bytes += q + kv;
  cost.forward_bytes = d;
  // Gradients of q, k, v and of the attention's result; then x made again, and its gradient.
  cost.backward_bytes = 2 * q + 2 * kv +
                        std::max(2 * d + adapters(inputs, spec.width, shape).backward_bytes,
                                 flash_backward_bytes(spec, shape));
  cost.forward_flops = 2 * matrices + 4 * scores;
  cost.backward_flops = 2 * matrices + 10 * scores;
  return cost;
}

SelfAttention::SelfAttention(const AttentionSpec& spec, const NormSpec& norm,
                             const WeightScope& weights)
    : spec_(spec),
      qkv_(input_linears(spec, weights), {spec.query_width(), spec.kv_width(), spec.kv_width()}),
      o_proj_({weights.linear(kOutput, spec.output_bias)}) {
  if (!spec.query_key_norm) return;
  q_norm_ = RmsNorm(weights.vector(kQueryNorm), norm);
  k_norm_ = RmsNorm(weights.vector(kKeyNorm), norm);
}

ops::AttentionOptions SelfAttention::options(const SequenceContext& context) const {
  return {.scale = spec_.scale,
          .softcap = spec_.softcap,
          .window = spec_.window,
          .starts_BT = context.starts_BT,
          .samples = context.samples,
          .deterministic = context.deterministic};
}

at::Tensor SelfAttention::normed_heads(const RmsNorm& norm, const at::Tensor& x) const {
  return norm.forward(x.contiguous().view({-1, spec_.head_dim})).y_ND.view(x.sizes());
}

at::Tensor SelfAttention::gradient_of_heads(const RmsNorm& norm, const at::Tensor& x,
                                            const at::Tensor& dy) const {
  return norm.gradient(x.contiguous().view({-1, spec_.head_dim}), dy.view({-1, spec_.head_dim}))
      .view(dy.sizes());
}

at::Tensor SelfAttention::forward(const at::Tensor& x_ND, const SequenceContext& context,
                                  Saved& saved, KvCache::Layer* cache) {
  std::vector<at::Tensor> qkv = qkv_.forward(x_ND, context.pass);
  if (spec_.query_key_norm) {
    saved.q_raw = qkv[0];
    saved.k_raw = qkv[1];
    qkv[0] = normed_heads(q_norm_, qkv[0]);
    qkv[1] = normed_heads(k_norm_, qkv[1]);
  }
  ops::rope(qkv[0], spec_.head_dim, *context.rotation, /*inverse=*/false);
  ops::rope(qkv[1], spec_.head_dim, *context.rotation, /*inverse=*/false);
  saved.q_BTNH = as_heads(qkv[0], context, spec_.head_dim);
  saved.k_BTKH = as_heads(qkv[1], context, spec_.head_dim);
  saved.v_BTKH = as_heads(qkv[2], context, spec_.head_dim);
  at::Tensor keys = saved.k_BTKH, values = saved.v_BTKH;
  if (cache) {
    if (cache->k_BSKH.defined()) {
      keys = at::cat({cache->k_BSKH, keys}, 1);
      values = at::cat({cache->v_BSKH, values}, 1);
    }
    cache->k_BSKH = keys;
    cache->v_BSKH = values;
  }
  saved.attention = ops::attention(saved.q_BTNH, keys, values, options(context));
  return o_proj_.forward(as_rows(saved.attention.out_BTNH), context.pass).front();
}

void SelfAttention::backward(const RebuildInput& input_ND, const at::Tensor& dout_ND,
                             const SequenceContext& context, const Saved& saved, at::Tensor& dx_ND,
                             bool need_dx) {
  at::Tensor dattention;
  o_proj_.backward(as_rows(saved.attention.out_BTNH), {dout_ND}, dattention, /*need_dx=*/true,
                   context.pass);
  const ops::AttentionGradients gradients =
      ops::attention_backward(saved.q_BTNH, saved.k_BTKH, saved.v_BTKH, saved.attention,
                              as_heads(dattention, context, spec_.head_dim), options(context));
  std::vector<at::Tensor> dqkv = {as_rows(gradients.dq_BTNH), as_rows(gradients.dk_BTKH),
                                  as_rows(gradients.dv_BTKH)};
  ops::rope(dqkv[0], spec_.head_dim, *context.rotation, /*inverse=*/true);
  ops::rope(dqkv[1], spec_.head_dim, *context.rotation, /*inverse=*/true);
  if (spec_.query_key_norm) {
    dqkv[0] = gradient_of_heads(q_norm_, saved.q_raw, dqkv[0]);
    dqkv[1] = gradient_of_heads(k_norm_, saved.k_raw, dqkv[1]);
  }
  qkv_.backward(input_ND(), dqkv, dx_ND, need_dx, context.pass);
}

}  // namespace lora_dist
