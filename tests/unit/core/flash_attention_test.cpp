// When a GPU's attention is LibTorch's FlashAttention, how packed rows are told to it, and, where
// there is a GPU, that it gives what the composed path gives.

#include "core/ops/flash_attention.hpp"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/composed.hpp"
#include "tests/support/gpu.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

TEST(FlashAttention, TakesHalvesOnAmpereAndNewer) {
  EXPECT_TRUE(ops::flash::can_run(at::kBFloat16, 64, 0, 80));
  EXPECT_TRUE(ops::flash::can_run(at::kHalf, 128, 0, 90));
  EXPECT_TRUE(ops::flash::can_run(at::kBFloat16, 128, 0, 120));
  EXPECT_FALSE(ops::flash::can_run(at::kFloat, 64, 0, 90));
  EXPECT_FALSE(ops::flash::can_run(at::kBFloat16, 64, 0, 75));
  EXPECT_FALSE(ops::flash::can_run(at::kBFloat16, 64, 0, 0));  // no GPU
}

TEST(FlashAttention, LeavesSoftCapsAndOddHeadsToTheComposedPath) {
  EXPECT_FALSE(ops::flash::can_run(at::kBFloat16, 64, 50, 90));
  for (const int64_t head_dim : {8, 96, 192, 256})
    EXPECT_TRUE(ops::flash::can_run(at::kBFloat16, head_dim, 0, 89)) << head_dim;
  for (const int64_t head_dim : {4, 100, 224, 264})
    EXPECT_FALSE(ops::flash::can_run(at::kBFloat16, head_dim, 0, 89)) << head_dim;
}

TEST(FlashAttention, NeverRunsOnTheHost) {
  const at::Tensor x = at::zeros({1, 4, 2, 8}, at::kBFloat16);
  EXPECT_FALSE(ops::flash::runs(x, x, x, {}));
}

std::vector<int32_t> values_of(const at::Tensor& x) {
  EXPECT_EQ(x.scalar_type(), at::kInt);
  return {x.const_data_ptr<int32_t>(), x.const_data_ptr<int32_t>() + x.numel()};
}

TEST(SampleRows, AreWhereTheSamplesOfAllRowsBegin) {
  // Three samples and one that fills its row.
  const auto samples =
      ops::sample_rows(at::tensor({0, 0, 0, 3, 4, 4, 0, 0, 0, 0, 0, 0}).view({2, 6}));
  ASSERT_TRUE(samples.has_value());
  EXPECT_THAT(values_of(samples->first_rows), ElementsAre(0, 3, 4, 6, 12));
  EXPECT_EQ(samples->longest, 6);
}

TEST(SampleRows, AreOneForEachTokenOfSamplesOfOne) {
  const auto samples = ops::sample_rows(at::tensor({0, 1, 2}).view({1, 3}));
  ASSERT_TRUE(samples.has_value());
  EXPECT_THAT(values_of(samples->first_rows), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(samples->longest, 1);
}

TEST(SampleRows, BecomeAPowerOfTwoWithEmptyOnesBehind) {
  const auto padded = [](int64_t count) {
    ops::SampleRows samples{at::arange(0, 5 * count + 1, 5, at::kInt), 5};
    ops::add_empty_samples(samples);
    EXPECT_TRUE(samples.first_rows.is_contiguous());
    return samples;
  };
  EXPECT_THAT(values_of(padded(3).first_rows), ElementsAre(0, 5, 10, 15, 15, 15, 15, 15, 15));
  EXPECT_EQ(padded(3).longest, 5);
  EXPECT_EQ(padded(8).first_rows.numel(), 9);
  EXPECT_EQ(padded(9).first_rows.numel(), 17);
  EXPECT_EQ(values_of(padded(9).first_rows).back(), 45);
}

TEST(SampleRows, AreNoneWhereAFirstKeyIsNotThatOfASample) {
  EXPECT_FALSE(ops::sample_rows(at::tensor({0, 0, 1, 1}).view({1, 4})));  // 2 sees 1, 1 sees 0
  EXPECT_FALSE(ops::sample_rows(at::tensor({1, 1}).view({1, 2})));        // 0 sees nothing
}

at::Tensor ripples(at::IntArrayRef shape, int64_t seed) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.3 + seed)
      .to(at::kBFloat16)
      .view(shape);
}

/// Two samples in one row, samples of 7 tokens in the other.
at::Tensor starts_of_samples(int64_t tokens) {
  const at::Tensor places = at::arange(tokens, at::kLong);
  return at::stack({at::where(places < 40, 0, 40).to(at::kLong), places.div(7, "floor") * 7});
}

struct FlashCase {
  const char* name;
  int64_t head_dim;
  int64_t window;
  bool packed;
};

class FlashOnAGpu : public testing::TestWithParam<FlashCase> {
 protected:
  void SetUp() override {
    const std::optional<at::Device> gpu = this_machines_gpu();
    if (!gpu) GTEST_SKIP() << kNoGpu;
    gpu_ = *gpu;
    const at::Tensor probe = at::zeros({1, 1, 1, 8}, at::TensorOptions(gpu_).dtype(at::kBFloat16));
    if (!ops::flash::runs(probe, probe, probe, {}))
      GTEST_SKIP() << "FlashAttention needs a build with CUDA and a GPU from Ampere on";
  }

  /// Views of one (B, T, heads, H) product, as a fused projection gives them.
  at::Tensor heads(int64_t tokens, int64_t first, int64_t count) const {
    return ripples({2, tokens, 8, GetParam().head_dim}, 1).to(gpu_).narrow(2, first, count);
  }

  ops::AttentionOptions options(int64_t tokens) const {
    ops::AttentionOptions options{.scale = 0.2, .window = GetParam().window};
    if (!GetParam().packed) return options;
    options.starts_BT = starts_of_samples(tokens);
    const auto samples = ops::sample_rows(options.starts_BT);
    options.samples = {samples->first_rows.to(gpu_), samples->longest};
    return options;
  }

  // Half a unit of bf16 and the roundings of the weights, relative to the largest value.
  static void expect_near(const at::Tensor& got, const at::Tensor& wanted) {
    ASSERT_EQ(got.sizes(), wanted.sizes());
    const double largest = wanted.to(at::kFloat).abs().max().item<double>();
    EXPECT_LE((got.cpu().to(at::kFloat) - wanted.to(at::kFloat)).abs().max().item<double>(),
              2e-2 * largest);
  }

  at::Device gpu_ = at::kCPU;
};

TEST_P(FlashOnAGpu, GivesTheComposedResultAndGradient) {
  for (const int64_t tokens : {65, 300}) {
    const at::Tensor q = heads(tokens, 0, 4), k = heads(tokens, 4, 2), v = heads(tokens, 6, 2),
                     dout = ripples(q.sizes(), 4).to(gpu_);
    const ops::AttentionOptions options = this->options(tokens);
    ASSERT_TRUE(ops::flash::runs(q, k, v, options));
    ops::AttentionOptions host_options = options;
    host_options.samples = {};
    const ops::AttentionResult got = ops::attention(q, k, v, options);
    expect_near(got.out_BTNH,
                ops::composed::attention(q.cpu(), k.cpu(), v.cpu(), host_options).out_BTNH);
    const ops::AttentionGradients gradients = ops::attention_backward(q, k, v, got, dout, options);
    const ops::AttentionGradients wanted =
        ops::composed::attention_backward(q.cpu(), k.cpu(), v.cpu(), dout.cpu(), host_options);
    expect_near(gradients.dq_BTNH, wanted.dq_BTNH);
    expect_near(gradients.dk_BTKH, wanted.dk_BTKH);
    expect_near(gradients.dv_BTKH, wanted.dv_BTKH);
    EXPECT_FALSE(at::globalContext().deterministicAlgorithms());  // as it was before

    for (int repetition = 0; repetition < 5; ++repetition) {
      const ops::AttentionGradients again =
          ops::attention_backward(q, k, v, ops::attention(q, k, v, options), dout, options);
      EXPECT_TRUE(at::equal(again.dq_BTNH, gradients.dq_BTNH));
      EXPECT_TRUE(at::equal(again.dk_BTKH, gradients.dk_BTKH));
      EXPECT_TRUE(at::equal(again.dv_BTKH, gradients.dv_BTKH));
    }
  }
}

TEST_P(FlashOnAGpu, LetsNewTokensSeeThePastOnes) {
  if (GetParam().packed) GTEST_SKIP() << "packed rows have no past";
  for (const int64_t new_tokens : {1, 2}) {
    const at::Tensor q = heads(70, 0, 4).narrow(1, 70 - new_tokens, new_tokens),
                     k = heads(70, 4, 2), v = heads(70, 6, 2);
    expect_near(ops::attention(q, k, v, options(70)).out_BTNH,
                ops::composed::attention(q.cpu(), k.cpu(), v.cpu(), options(70)).out_BTNH);
  }
}

INSTANTIATE_TEST_SUITE_P(Problems, FlashOnAGpu,
                         testing::Values(FlashCase{"whole", 64, 0, false},
                                         FlashCase{"window", 64, 5, false},
                                         FlashCase{"window_of_one", 64, 1, false},
                                         FlashCase{"packed", 128, 0, true},
                                         FlashCase{"packed_window", 128, 5, true},
                                         FlashCase{"wide_heads", 256, 0, false}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lora_dist
