// Both attention paths, forward and backward, against autograd over the textbook formula.

#include "core/ops/attention.hpp"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

namespace lora_dist {
namespace {

at::Tensor pattern(at::IntArrayRef shape, int64_t seed) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.3 + seed)
      .to(at::kFloat)
      .view(shape);
}

// softmax(mask(cap(scale q k^T))) v in the plainest way.
at::Tensor textbook(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const ops::AttentionOptions& options) {
  const int64_t tokens = q.size(1), keys = k.size(1), group = q.size(2) / k.size(2);
  const at::Tensor k_heads = k.repeat_interleave(group, 2), v_heads = v.repeat_interleave(group, 2);
  at::Tensor scores = at::einsum("btnh,bsnh->bnts", {q, k_heads}) * options.scale;
  if (options.softcap > 0) scores = at::tanh(scores / options.softcap) * options.softcap;
  at::Tensor allowed = at::ones({tokens, keys}, at::kBool).tril(keys - tokens);
  if (options.window > 0)
    allowed = allowed.logical_and(
        at::ones({tokens, keys}, at::kBool).triu(keys - tokens - options.window + 1));
  return at::einsum(
      "bnts,bsnh->btnh",
      {at::softmax(scores.masked_fill(allowed.logical_not(), -INFINITY), -1), v_heads});
}

class EveryAttention : public testing::TestWithParam<ops::AttentionOptions> {};

TEST_P(EveryAttention, GivesTheTextbookResultAndGradient) {
  const at::Tensor q = pattern({2, 9, 4, 8}, 1), k = pattern({2, 9, 2, 8}, 2),
                   v = pattern({2, 9, 2, 8}, 3), dout = pattern({2, 9, 4, 8}, 4);
  at::Tensor q_leaf = q.clone().set_requires_grad(true), k_leaf = k.clone().set_requires_grad(true),
             v_leaf = v.clone().set_requires_grad(true);
  const at::Tensor wanted = textbook(q_leaf, k_leaf, v_leaf, GetParam());
  (wanted * dout).sum().backward();

  const ops::AttentionResult got = ops::attention(q, k, v, GetParam());
  EXPECT_LT((got.out_BTNH - wanted.detach()).abs().max().item<float>(), 1e-5);
  const ops::AttentionGradients gradients = ops::attention_backward(q, k, v, got, dout, GetParam());
  EXPECT_LT((gradients.dq_BTNH - q_leaf.grad()).abs().max().item<float>(), 1e-5);
  EXPECT_LT((gradients.dk_BTKH - k_leaf.grad()).abs().max().item<float>(), 1e-5);
  EXPECT_LT((gradients.dv_BTKH - v_leaf.grad()).abs().max().item<float>(), 1e-5);
}

TEST_P(EveryAttention, LetsNewTokensSeeThePastOnes) {
  const at::Tensor q = pattern({1, 2, 4, 8}, 1), k = pattern({1, 7, 2, 8}, 2),
                   v = pattern({1, 7, 2, 8}, 3);
  EXPECT_LT((ops::attention(q, k, v, GetParam()).out_BTNH - textbook(q, k, v, GetParam()))
                .abs()
                .max()
                .item<float>(),
            1e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Paths, EveryAttention,
    testing::Values(ops::AttentionOptions{0.35, 0, 0}, ops::AttentionOptions{0.35, 0, 4},
                    ops::AttentionOptions{0.35, 0, 100}, ops::AttentionOptions{0.5, 0.7, 0},
                    ops::AttentionOptions{0.5, 0.7, 3}),
    [](const auto& info) {
      return fmt::format("softcap{}_window{}", info.param.softcap > 0, info.param.window);
    });

}  // namespace
}  // namespace lora_dist
