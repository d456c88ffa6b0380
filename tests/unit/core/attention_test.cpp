// Every attention path of the host, forward and backward, against autograd over the textbook
// formula.

#include "core/ops/attention.hpp"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "core/ops/bf16_attention.hpp"
#include "core/ops/blocked_attention.hpp"
#include "core/ops/composed.hpp"

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
  if (options.starts_BT.defined())
    allowed = allowed.logical_and(at::arange(keys) >= options.starts_BT.unsqueeze(2)).unsqueeze(1);
  return at::einsum(
      "bnts,bsnh->btnh",
      {at::softmax(scores.masked_fill(allowed.logical_not(), -INFINITY), -1), v_heads});
}

class EveryAttention : public testing::TestWithParam<ops::AttentionOptions> {};

struct Sides {
  at::Tensor q, k, v, dout;
  at::Tensor out, dq, dk, dv;  // wanted, by autograd
};

// 9 tokens are one block of rows, 300 are three.
Sides textbook_sides(int64_t tokens, const ops::AttentionOptions& options) {
  Sides sides{.q = pattern({2, tokens, 4, 8}, 1),
              .k = pattern({2, tokens, 2, 8}, 2),
              .v = pattern({2, tokens, 2, 8}, 3),
              .dout = pattern({2, tokens, 4, 8}, 4)};
  at::Tensor q = sides.q.clone().set_requires_grad(true),
             k = sides.k.clone().set_requires_grad(true),
             v = sides.v.clone().set_requires_grad(true);
  const at::Tensor out = textbook(q, k, v, options);
  (out * sides.dout).sum().backward();
  sides.out = out.detach();
  sides.dq = q.grad(), sides.dk = k.grad(), sides.dv = v.grad();
  return sides;
}

double largest_difference(const at::Tensor& got, const at::Tensor& wanted) {
  return (got.to(at::kFloat) - wanted).abs().max().item<double>();
}

TEST_P(EveryAttention, GivesTheTextbookResultAndGradient) {
  for (const int64_t tokens : {9, 300}) {
    const Sides sides = textbook_sides(tokens, GetParam());
    const ops::AttentionResult got = ops::attention(sides.q, sides.k, sides.v, GetParam());
    EXPECT_LT(largest_difference(got.out_BTNH, sides.out), 1e-5);
    const ops::AttentionGradients gradients =
        ops::attention_backward(sides.q, sides.k, sides.v, got, sides.dout, GetParam());
    EXPECT_LT(largest_difference(gradients.dq_BTNH, sides.dq), 1e-5);
    EXPECT_LT(largest_difference(gradients.dk_BTKH, sides.dk), 3e-5);
    EXPECT_LT(largest_difference(gradients.dv_BTKH, sides.dv), 3e-5);
  }
}

TEST_P(EveryAttention, IsTheSameComposedOfLibraryOperations) {
  const Sides sides = textbook_sides(300, GetParam());
  const at::Tensor out = ops::composed::attention(sides.q, sides.k, sides.v, GetParam()).out_BTNH;
  EXPECT_LT(largest_difference(out, sides.out), 1e-5);
  const ops::AttentionGradients gradients =
      ops::composed::attention_backward(sides.q, sides.k, sides.v, sides.dout, GetParam());
  EXPECT_LT(largest_difference(gradients.dq_BTNH, sides.dq), 1e-5);
  EXPECT_LT(largest_difference(gradients.dk_BTKH, sides.dk), 3e-5);
  EXPECT_LT(largest_difference(gradients.dv_BTKH, sides.dv), 3e-5);
}

// Two sequences of 300: one of three samples, the second of which ends a block of rows; one of
// samples of 7 tokens.
at::Tensor starts_of_packed_rows() {
  const at::Tensor places = at::arange(300, at::kLong);
  const at::Tensor first = at::where(places < 40, 0, at::where(places < 128, 40, 128));
  return at::stack({first.to(at::kLong), places.div(7, "floor") * 7});
}

// In bf16 by way of fp32, and by the processor's bf16 instructions (plain loops where there are
// none).
TEST_P(EveryAttention, IsTheSameInBf16UpToItsRounding) {
  const auto half = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  for (const bool packed : {false, true}) {
    ops::AttentionOptions options = GetParam();
    if (packed) options.starts_BT = starts_of_packed_rows();
    const Sides sides = textbook_sides(300, options);
    const at::Tensor q = half(sides.q), k = half(sides.k), v = half(sides.v),
                     dout = half(sides.dout);
    const auto expect_near = [&](const ops::AttentionResult& got,
                                 const ops::AttentionGradients& gradients) {
      EXPECT_EQ(got.out_BTNH.scalar_type(), at::kBFloat16);
      EXPECT_LT(largest_difference(got.out_BTNH, sides.out), 1e-2);
      for (const auto& [gradient, wanted] : {std::pair{gradients.dq_BTNH, sides.dq},
                                             {gradients.dk_BTKH, sides.dk},
                                             {gradients.dv_BTKH, sides.dv}})
        EXPECT_LT(largest_difference(gradient, wanted) / wanted.abs().max().item<double>(), 2e-2);
    };
    const ops::AttentionResult by_fp32 = ops::blocked::attention(q, k, v, options);
    expect_near(by_fp32, ops::blocked::attention_backward(q, k, v, by_fp32, dout, options));
    const ops::AttentionResult by_bf16 = ops::bf16::attention(q, k, v, options);
    expect_near(by_bf16, ops::bf16::attention_backward(q, k, v, by_bf16, dout, options));
  }
}

TEST_P(EveryAttention, GivesTheSameBitsForOneThreadAndTwo) {
  const Sides sides = textbook_sides(300, GetParam());
  const int threads = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor q = sides.q.to(dtype), k = sides.k.to(dtype), v = sides.v.to(dtype);
    std::vector<at::Tensor> results;
    for (const int num_threads : {1, 2}) {
      at::set_num_threads(num_threads);
      const ops::AttentionResult out = ops::attention(q, k, v, GetParam());
      const ops::AttentionGradients gradients =
          ops::attention_backward(q, k, v, out, sides.dout.to(dtype), GetParam());
      results.push_back(at::cat({out.out_BTNH.flatten(), gradients.dq_BTNH.flatten(),
                                 gradients.dk_BTKH.flatten(), gradients.dv_BTKH.flatten()}));
    }
    EXPECT_TRUE(at::equal(results[0], results[1])) << dtype;
  }
  at::set_num_threads(threads);
}

TEST_P(EveryAttention, LetsNewTokensSeeThePastOnes) {
  const at::Tensor q = pattern({1, 2, 4, 8}, 1), k = pattern({1, 7, 2, 8}, 2),
                   v = pattern({1, 7, 2, 8}, 3);
  EXPECT_LT((ops::attention(q, k, v, GetParam()).out_BTNH - textbook(q, k, v, GetParam()))
                .abs()
                .max()
                .item<float>(),
            1e-5);
  const at::Tensor by_bf16 = ops::bf16::attention(q.to(at::kBFloat16), k.to(at::kBFloat16),
                                                  v.to(at::kBFloat16), GetParam())
                                 .out_BTNH;
  EXPECT_LT(largest_difference(by_bf16, textbook(q, k, v, GetParam())), 1e-2);
}

TEST_P(EveryAttention, LetsASampleOfAPackedRowSeeItselfAlone) {
  ops::AttentionOptions options = GetParam();
  options.starts_BT = starts_of_packed_rows();
  const Sides sides = textbook_sides(300, options);
  const ops::AttentionResult got = ops::attention(sides.q, sides.k, sides.v, options);
  const ops::AttentionGradients blocked =
      ops::attention_backward(sides.q, sides.k, sides.v, got, sides.dout, options);
  const at::Tensor out = ops::composed::attention(sides.q, sides.k, sides.v, options).out_BTNH;
  const ops::AttentionGradients composed =
      ops::composed::attention_backward(sides.q, sides.k, sides.v, sides.dout, options);
  EXPECT_LT(largest_difference(got.out_BTNH, sides.out), 1e-5);
  EXPECT_LT(largest_difference(out, sides.out), 1e-5);
  for (const ops::AttentionGradients& gradients : {blocked, composed}) {
    EXPECT_LT(largest_difference(gradients.dq_BTNH, sides.dq), 1e-5);
    EXPECT_LT(largest_difference(gradients.dk_BTKH, sides.dk), 3e-5);
    EXPECT_LT(largest_difference(gradients.dv_BTKH, sides.dv), 3e-5);
  }
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
