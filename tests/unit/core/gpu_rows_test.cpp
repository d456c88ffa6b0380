// The GPU's row operations against those composed of LibTorch's: their kernels built for host
// threads everywhere, and on the GPU where there is one.

#include <cmath>
#include <limits>

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "core/ops/composed.hpp"
#include "core/ops/cuda/rows.hpp"
#include "tests/support/gpu.hpp"
#include "tests/support/host_row_kernels.hpp"

namespace lora_dist {
namespace {

at::Tensor waves(at::IntArrayRef shape, double scale, int64_t seed) {
  const int64_t count = c10::multiply_integers(shape);
  return (at::sin(at::arange(count, at::kDouble) * 1.7 + seed) * scale).to(at::kFloat).view(shape);
}

/// Where, with which elements, and rows of which width: 37 is no multiple of a pack of 16 bytes, 40
/// is; 1032 is more than a block of the host's takes at once.
class EveryRowKernel
    : public testing::TestWithParam<std::tuple<std::string, at::ScalarType, int64_t>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) == "host") return;
    const std::optional<at::Device> gpu = this_machines_gpu();
    if (!gpu) GTEST_SKIP() << kNoGpu;
    device_ = *gpu;
    if (!ops::cuda::rows_for(here(at::zeros({1}))))
      GTEST_SKIP() << "no kernels for this GPU in this build";
  }

  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
  int64_t width() const { return std::get<2>(GetParam()); }
  at::Tensor here(const at::Tensor& x) const { return x.to(device_); }
  at::Tensor make(at::IntArrayRef shape, double scale = 1, int64_t seed = 0) const {
    return here(waves(shape, scale, seed).to(dtype()));
  }
  const ops::cuda::Rows& rows() const {
    static const ops::cuda::Rows host(cuda::host_row_kernels);
    return device_.is_cpu() ? host : *ops::cuda::rows_for(here(at::zeros({1})));
  }

  // Relative to the largest value: fp32 rounding, or half a unit of bf16.
  void expect_near(const at::Tensor& got, const at::Tensor& wanted) const {
    EXPECT_EQ(got.scalar_type(), wanted.scalar_type());
    const double largest = wanted.to(at::kFloat).abs().max().item<double>();
    EXPECT_LE((got.to(at::kFloat) - wanted.to(at::kFloat)).abs().max().item<double>(),
              (dtype() == at::kFloat ? 2e-6 : 8e-3) * largest);
  }

  at::Device device_ = at::kCPU;
};

TEST_P(EveryRowKernel, NormalisesRowsAndTheirGradient) {
  const at::Tensor x = make({7, width()}, 3), dy = make({7, width()}, 1, 9);
  const at::Tensor weight = here(waves({width()}, 1, 5));
  at::Tensor wanted_inv, inv;
  const at::Tensor wanted = ops::composed::rms_norm(x, weight, 1, 1e-5, wanted_inv);
  expect_near(rows().rms_norm(x, weight, 1, 1e-5, inv), wanted);
  EXPECT_LT((inv / wanted_inv - 1).abs().max().item<double>(), 1e-6);
  for (const bool accumulate : {false, true}) {
    at::Tensor dx, expected;
    if (accumulate) dx = make({7, width()}, 1, 3), expected = dx.clone();
    ops::composed::rms_norm_backward(x, weight, 1, wanted_inv, dy, expected);
    rows().rms_norm_backward(x, weight, 1, wanted_inv, dy, dx);
    expect_near(dx, expected);
  }
}

// Two heads in the first columns of wider rows; the last features of a head are not turned.
TEST_P(EveryRowKernel, TurnsPartOfEachHeadAndBack) {
  for (const int64_t half : {width() / 2, width() / 16 * 8}) {
    const int64_t head_dim = width(), fused = 3 * width();
    const at::Tensor angles = waves({3, half}, 2, 1);
    const ops::Rotation rotation{here(angles.cos()), here(angles.sin()), 2 * half};
    const at::Tensor x = make({6, fused});
    at::Tensor got = x.clone(), wanted = x.clone();
    ops::composed::rope(wanted.narrow(1, 0, 2 * head_dim), head_dim, rotation, false);
    rows().rope(got.narrow(1, 0, 2 * head_dim), head_dim, rotation, false);
    expect_near(got, wanted);
    EXPECT_FALSE(at::equal(got, x));
    rows().rope(got.narrow(1, 0, 2 * head_dim), head_dim, rotation, true);
    expect_near(got, x);
  }
}

TEST_P(EveryRowKernel, GatesAndTheirGradientsInPlaceInStridedRows) {
  for (const kernels::Activation activation : kernels::kActivations) {
    const at::Tensor gate_up = make({5, 2 * width()}, 4), dy = make({5, width()}, 1, 11);
    const auto halves = [](const at::Tensor& x) { return x.chunk(2, 1); };
    expect_near(rows().gated(activation, halves(gate_up)[0], halves(gate_up)[1]),
                ops::composed::gated(activation, halves(gate_up)[0], halves(gate_up)[1]));
    at::Tensor got = gate_up.clone(), wanted = gate_up.clone();
    rows().gated_backward(activation, halves(got)[0], halves(got)[1], dy);
    ops::composed::gated_backward(activation, halves(wanted)[0], halves(wanted)[1], dy);
    expect_near(halves(got)[0], halves(wanted)[0]);
    expect_near(halves(got)[1], halves(wanted)[1]);
  }
}

TEST_P(EveryRowKernel, TakesCrossEntropyWithAndWithoutASoftCapAndAGradient) {
  const at::Tensor labels = here(at::tensor({int64_t{0}, width() - 1, int64_t{7}, int64_t{20}}));
  for (const double softcap : {0.0, 3.0}) {
    const at::Tensor logits = make({4, width()}, 6);
    at::Tensor got = logits.clone(), wanted = logits.clone();
    const double expected =
        ops::composed::cross_entropy(wanted, labels, softcap, true).sum().item<double>();
    const at::Tensor loss = rows().cross_entropy(got, labels, softcap, true);
    EXPECT_EQ(loss.scalar_type(), at::kDouble);
    EXPECT_EQ(loss.dim(), 1);
    EXPECT_NEAR(loss.sum().item<double>(), expected, 1e-6 * expected);
    expect_near(got, wanted);
    got = logits.clone();
    EXPECT_EQ(rows().cross_entropy(got, labels, softcap, false).sum().item<double>(),
              loss.sum().item<double>());
    EXPECT_TRUE(at::equal(got, logits));
  }
}

TEST_P(EveryRowKernel, TakesMinusInfinityForNoChanceAndMakesNaNOfOtherBrokenLogits) {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor labels = here(at::tensor({int64_t{3}}));
  at::Tensor logits = make({1, width()}), wanted = logits.clone();
  for (at::Tensor x : {logits, wanted}) x.narrow(1, 8, 8).fill_(-infinity);  // all a thread has
  const double expected =
      ops::composed::cross_entropy(wanted, labels, 0, true).sum().item<double>();
  EXPECT_NEAR(rows().cross_entropy(logits, labels, 0, true).sum().item<double>(), expected,
              1e-6 * expected);
  expect_near(logits, wanted);
  for (const double broken : {infinity, std::nan("")}) {
    for (const int64_t place : {int64_t{0}, width() - 1}) {
      at::Tensor x = make({1, width()});
      x.select(1, place).fill_(broken);
      EXPECT_TRUE(std::isnan(rows().cross_entropy(x, labels, 0, true).sum().item<double>()));
      EXPECT_TRUE(at::isnan(x).any().item<bool>());  // a NaN stays one in bf16
    }
  }
}

TEST_P(EveryRowKernel, DropsTheElementsThatTheHostDrops) {
  const kernels::DropoutStream stream{0x123456789abcdefu, 3, 5, 2};
  const at::Tensor x = make({7, width()}, 3);
  const at::Tensor got = rows().dropout(x, 0.25, stream);
  EXPECT_TRUE(at::equal(got.cpu(), ops::dropout(x.cpu(), 0.25, stream)));
  EXPECT_GT((got == 0).sum().item<int64_t>(), 0);
  // The same step and slot from memory, which a recorded kernel reads anew.
  const at::Tensor numbers = here(at::tensor({3, 5}, at::kInt));
  const kernels::DropoutStream from_memory{stream.seed, 99, 99, 2,
                                           static_cast<const uint32_t*>(numbers.const_data_ptr())};
  EXPECT_TRUE(at::equal(rows().dropout(x, 0.25, from_memory), got));
  numbers.select(0, 0).fill_(4);
  EXPECT_FALSE(at::equal(rows().dropout(x, 0.25, from_memory), got));
}

// Rows that begin beside the borders of 16 bytes go another way.
TEST_P(EveryRowKernel, GivesTheSameBitsWhereverARowLiesAndHoweverManyThereAre) {
  const at::Tensor x = make({7, width()}, 3), weight = here(waves({width()}, 1, 5));
  const at::Tensor apart =
      at::cat({x.flatten().narrow(0, 0, 1), x.flatten()}).narrow(0, 1, x.numel()).view(x.sizes());
  at::Tensor inv, again;
  const at::Tensor y = rows().rms_norm(x, weight, 1, 1e-5, inv);
  EXPECT_TRUE(at::equal(y, rows().rms_norm(apart, weight, 1, 1e-5, again)));
  EXPECT_TRUE(at::equal(inv, again));
  EXPECT_TRUE(at::equal(y[2], rows().rms_norm(x.narrow(0, 2, 1), weight, 1, 1e-5, again)[0]));
}

TEST_P(EveryRowKernel, TakesNoRows) {
  at::Tensor inv;
  EXPECT_EQ(rows().rms_norm(make({0, width()}), here(waves({width()}, 1, 5)), 1, 1e-5, inv).size(0),
            0);
  const at::Tensor labels = here(at::empty({0}, at::kLong));
  EXPECT_EQ(rows().cross_entropy(make({0, width()}), labels, 0, true).sum().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(Places, EveryRowKernel,
                         testing::Combine(testing::Values("host", "gpu"),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(37, 40, 1032)),
                         [](const auto& info) {
                           return fmt::format(
                               "{}_{}_width{}", std::get<0>(info.param),
                               std::get<1>(info.param) == at::kFloat ? "fp32" : "bf16",
                               std::get<2>(info.param));
                         });

class SumOfSquaresInBlocks : public testing::TestWithParam<std::string> {};

TEST_P(SumOfSquaresInBlocks, IsTheSumWhateverTheLengthAndTheSameBitsAgain) {
  at::Device device = at::kCPU;
  const ops::cuda::Rows host(cuda::host_row_kernels);
  const ops::cuda::Rows* rows = &host;
  if (GetParam() == "gpu") {
    const std::optional<at::Device> gpu = this_machines_gpu();
    if (!gpu) GTEST_SKIP() << kNoGpu;
    device = *gpu;
    rows = ops::cuda::rows_for(at::zeros({1}, device));
    if (!rows) GTEST_SKIP() << "no kernels for this GPU in this build";
  }
  for (const int64_t count : {0, 1, 4, 16384, 16385, 100004}) {
    const at::Tensor flat = waves({count}, 1, 2).to(device);
    const double expected = flat.cpu().to(at::kDouble).square().sum().item<double>();
    const at::Tensor sum = rows->sum_of_squares(flat);
    EXPECT_NEAR(sum.item<double>(), expected, 1e-12 * expected);
    EXPECT_TRUE(at::equal(rows->sum_of_squares(flat), sum));
  }
}

INSTANTIATE_TEST_SUITE_P(Places, SumOfSquaresInBlocks, testing::Values("host", "gpu"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora_dist
