// Attention made of LibTorch's operations: the path of other devices, and a second opinion for the
// tests of the blocked one.
#include <cmath>

#include "core/ops/composed.hpp"

namespace lora_dist::ops::composed {
namespace {

// Composed attention of one key/value head and its group of query heads.
struct Scores {
  at::Tensor weights_GTS;  // softmax, fp32
  at::Tensor slope_GTS;    // derivative of the soft cap; undefined without one
};

/// One for all sequences, or one for each of packed rows.
at::Tensor forbidden_BTS(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                         const AttentionOptions& options) {
  const int64_t tokens = q_BTNH.size(1), keys = k_BSKH.size(1);
  const auto places = at::TensorOptions().dtype(at::kLong).device(q_BTNH.device());
  const at::Tensor query = at::arange(keys - tokens, keys, places).unsqueeze(1);
  const at::Tensor key = at::arange(keys, places).unsqueeze(0);
  at::Tensor forbidden = key > query;
  if (options.window > 0) forbidden = forbidden.logical_or(key <= query - options.window);
  if (!options.starts_BT.defined()) return forbidden.unsqueeze(0);
  return forbidden.logical_or(key < options.starts_BT.to(places.device()).unsqueeze(2));
}

at::Tensor of_sequence(const at::Tensor& forbidden_BTS, int64_t b) {
  return forbidden_BTS.select(0, forbidden_BTS.size(0) == 1 ? 0 : b);
}

Scores composed_scores(const at::Tensor& q_GTH, const at::Tensor& k_SH,
                       const AttentionOptions& options, const at::Tensor& forbidden) {
  Scores result;
  at::Tensor scores = at::matmul(q_GTH, k_SH.t()).mul_(options.scale);
  if (options.softcap > 0) {
    const at::Tensor tanh = at::tanh(scores / options.softcap);
    result.slope_GTS = 1 - tanh.square();
    scores = tanh * options.softcap;
  }
  result.weights_GTS = at::softmax(scores.masked_fill_(forbidden, -INFINITY), -1);
  return result;
}

// Calls body(b, k, q_GTH, k_SH, v_SH) in fp32 for every key/value head.
template <class Body>
void for_each_kv_head(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH, const at::Tensor& v_BSKH,
                      Body&& body) {
  const int64_t kv_heads = k_BSKH.size(2), group = q_BTNH.size(2) / kv_heads;
  for (int64_t b = 0; b < q_BTNH.size(0); ++b) {
    for (int64_t k = 0; k < kv_heads; ++k) {
      body(b, k, q_BTNH[b].narrow(1, k * group, group).transpose(0, 1).to(at::kFloat),
           k_BSKH[b].select(1, k).to(at::kFloat), v_BSKH[b].select(1, k).to(at::kFloat));
    }
  }
}

}  // namespace

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  at::Tensor out_BTNH = at::empty(q_BTNH.sizes(), q_BTNH.options());
  const int64_t group = q_BTNH.size(2) / k_BSKH.size(2);
  const at::Tensor forbidden = forbidden_BTS(q_BTNH, k_BSKH, options);
  for_each_kv_head(q_BTNH, k_BSKH, v_BSKH,
                   [&](int64_t b, int64_t k, const at::Tensor& q_GTH, const at::Tensor& k_SH,
                       const at::Tensor& v_SH) {
                     const Scores scores =
                         composed_scores(q_GTH, k_SH, options, of_sequence(forbidden, b));
                     out_BTNH[b]
                         .narrow(1, k * group, group)
                         .copy_(at::matmul(scores.weights_GTS, v_SH).transpose(0, 1));
                   });
  return {.out_BTNH = out_BTNH};
}

AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  AttentionGradients gradients{at::empty(q_BTNH.sizes(), q_BTNH.options()),
                               at::empty(k_BTKH.sizes(), k_BTKH.options()),
                               at::empty(v_BTKH.sizes(), v_BTKH.options())};
  const int64_t group = q_BTNH.size(2) / k_BTKH.size(2);
  const at::Tensor forbidden = forbidden_BTS(q_BTNH, k_BTKH, options);
  for_each_kv_head(
      q_BTNH, k_BTKH, v_BTKH,
      [&](int64_t b, int64_t k, const at::Tensor& q_GTH, const at::Tensor& k_SH,
          const at::Tensor& v_SH) {
        const Scores scores = composed_scores(q_GTH, k_SH, options, of_sequence(forbidden, b));
        const at::Tensor dout_GTH =
            dout_BTNH[b].narrow(1, k * group, group).transpose(0, 1).to(at::kFloat);
        const at::Tensor dweights = at::matmul(dout_GTH, v_SH.t());
        at::Tensor dscores = scores.weights_GTS *
                             (dweights - (dweights * scores.weights_GTS).sum(-1, /*keepdim=*/true));
        if (scores.slope_GTS.defined()) dscores.mul_(scores.slope_GTS);
        dscores.mul_(options.scale);
        gradients.dq_BTNH[b]
            .narrow(1, k * group, group)
            .copy_(at::matmul(dscores, k_SH).transpose(0, 1));
        gradients.dk_BTKH[b].select(1, k).copy_(at::matmul(dscores.transpose(1, 2), q_GTH).sum(0));
        gradients.dv_BTKH[b].select(1, k).copy_(
            at::matmul(scores.weights_GTS.transpose(1, 2), dout_GTH).sum(0));
      });
  return gradients;
}

}  // namespace lora_dist::ops::composed
