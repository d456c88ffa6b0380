// What every optimizer keeps to, and AdamW's arithmetic.

#include <cmath>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/optimizers/adamw8bit.hpp"
#include "core/optimizers/optimizer.hpp"
#include "tests/support/gpu.hpp"
#include "tests/support/host_row_kernels.hpp"

namespace lora_dist {
namespace {

class EveryOptimizer : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryOptimizer, LeavesParametersAloneAtLearningRateZero) {
  const at::Tensor params = at::ones({24});
  optimizers().at(GetParam())({params, {}})->step(at::ones({24}), 0.0);
  EXPECT_TRUE(at::equal(params, at::ones({24})));
}

TEST_P(EveryOptimizer, GoesOnBitForBitFromItsState) {
  const at::Tensor unbroken = at::ones({24}), first = at::ones({24});
  const auto whole = optimizers().at(GetParam())({unbroken, {}});
  auto half = optimizers().at(GetParam())({first, {}});
  const auto gradient = [](int step) { return at::sin(at::arange(24, at::kFloat) + step); };
  for (int step = 0; step < 3; ++step)
    whole->step(gradient(step), 0.1), half->step(gradient(step), 0.1);
  const NamedTensors state = half->state();
  const at::Tensor second = first.clone();
  half = optimizers().at(GetParam())({second, {}});
  half->restore(state, "test");
  for (int step = 3; step < 6; ++step)
    whole->step(gradient(step), 0.1), half->step(gradient(step), 0.1);
  EXPECT_TRUE(at::equal(unbroken, second));
}

TEST_P(EveryOptimizer, NamesTheStateThatIsMissing) {
  const auto optimizer = optimizers().at(GetParam())({at::ones({24}), {}});
  EXPECT_THROW(optimizer->restore({}, "checkpoint-1"), ModelError);
}

TEST_P(EveryOptimizer, TakesAllAsOneGroupWithTheBitsOfNone) {
  const at::Tensor plain = at::ones({600}), grouped = at::ones({600});
  const auto first = optimizers().at(GetParam())({plain, {}});
  const auto second = optimizers().at(GetParam())({grouped, {}, {{0, 600, 1}}});
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = at::sin(at::arange(600, at::kFloat) + step);
    first->step(gradient, 0.1), second->step(gradient, 0.1);
  }
  EXPECT_TRUE(at::equal(plain, grouped));
}

// Each group goes where a run at its own rate would take all parameters; the groups cut through
// blocks of moments.
TEST_P(EveryOptimizer, MovesEachGroupAtItsOwnRate) {
  const std::vector<ParameterGroup> groups = {{0, 100, 1}, {100, 450, 16}, {450, 600, 1}};
  const at::Tensor grouped = at::ones({600}), slow = at::ones({600}), fast = at::ones({600});
  const auto optimizer = optimizers().at(GetParam())({grouped, {}, groups});
  const auto at_one = optimizers().at(GetParam())({slow, {}});
  const auto at_sixteen = optimizers().at(GetParam())({fast, {}});
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = at::sin(at::arange(600, at::kFloat) + step);
    optimizer->step(gradient, 0.01), at_one->step(gradient, 0.01), at_sixteen->step(gradient, 0.16);
  }
  for (const ParameterGroup& group : groups) {
    const at::Tensor wanted = group.rate_factor == 1 ? slow : fast;
    EXPECT_TRUE(at::allclose(grouped.slice(0, group.first, group.end),
                             wanted.slice(0, group.first, group.end), 1e-6, 1e-7));
  }
}

// The plan and the free space that a checkpoint asks for count with it. Scales of blocks and the
// count of updates come on top.
TEST_P(EveryOptimizer, KeepsAsManyBytesOfStateAsItSays) {
  constexpr int64_t kElements = 1 << 16;
  int64_t bytes = 0;
  for (const auto& [name, tensor] :
       optimizers().at(GetParam())({at::ones({kElements}), {}})->state())
    bytes += static_cast<int64_t>(tensor.nbytes());
  const int64_t said = optimizers().at(GetParam()).state_bytes_per_parameter * kElements;
  EXPECT_GE(bytes, said);
  EXPECT_LT(static_cast<double>(bytes), 1.05 * static_cast<double>(said));
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryOptimizer, testing::ValuesIn(optimizers().names()),
                         [](const auto& info) { return std::string(info.param); });

TEST(AdamW, TakesTheStepOfTheFormula) {
  const at::Tensor params = at::full({1}, 2.0f);
  StepsConfig config;
  config.weight_decay = 0.1;
  const auto optimizer = optimizers().at("adamw")({params, config});
  double value = 2, m = 0, v = 0;
  for (int step = 1; step <= 3; ++step) {
    const double gradient = 0.3 * step, rate = 0.05;
    optimizer->step(at::full({1}, static_cast<float>(gradient)), rate);
    value -= rate * 0.1 * value;
    m = 0.9 * m + 0.1 * gradient;
    v = 0.999 * v + 0.001 * gradient * gradient;
    value -= rate * (m / (1 - std::pow(0.9, step))) /
             (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
  }
  EXPECT_NEAR(params.item<float>(), value, 1e-6);
}

// A block whose values are one magnitude is stored without loss, so AdamW's own formula holds.
TEST(AdamW8bit, TakesTheStepOfTheFormulaWhereItsBlocksHoldOneValue) {
  const at::Tensor params = at::full({300}, 2.0f);
  const auto optimizer = optimizers().at("adamw8bit")({params, {}});
  double value = 2, m = 0, v = 0;
  for (int step = 1; step <= 3; ++step) {
    const double gradient = 0.3 * step, rate = 0.05;
    optimizer->step(at::full({300}, static_cast<float>(gradient)), rate);
    m = 0.9 * m + 0.1 * gradient;
    v = 0.999 * v + 0.001 * gradient * gradient;
    value -= rate * (m / (1 - std::pow(0.9, step))) /
             (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
  }
  EXPECT_LT((params - value).abs().max().item<float>(), 1e-5);
}

// The table of bitsandbytes' create_dynamic_map: with the largest value 1, its neighbours are the
// centres of 64 intervals of [0.1, 1].
TEST(AdamW8bit, StoresTheNearestValueOfTheDynamicTable) {
  at::Tensor gradient = at::zeros({256});
  gradient[0] = 1.0f, gradient[1] = 0.5f, gradient[2] = -0.5f, gradient[3] = 1e-9f;
  const auto optimizer = optimizers().at("adamw8bit")({at::zeros({256}), {}});
  optimizer->step(gradient, 0.1);
  const NamedTensors tensors = optimizer->state();
  const std::map<std::string, at::Tensor> state(tensors.begin(), tensors.end());
  EXPECT_FLOAT_EQ(state.at("exp_avg_scales")[0].item<float>(), 0.1f);
  const at::Tensor codes = state.at("exp_avg");
  // Ascending: 127 negative values, 0, 127 positive ones, 1. In [0.1, 1] the interval of 0.5 has
  // number floor(0.4 / 0.9 * 64) = 28 of 64, above 63 smaller positive values.
  EXPECT_EQ(codes[0].item<int>(), 255);
  EXPECT_EQ(codes[1].item<int>(), 127 + 1 + 63 + 28);
  EXPECT_EQ(codes[2].item<int>(), 126 - 63 - 28);
  EXPECT_EQ(codes[3].item<int>(), 127);
  EXPECT_EQ(codes[4].item<int>(), 127);
}

TEST(AdamW8bit, KeepsAQuarterOfAdamWsState) {
  const auto bytes = [](std::string_view name) {
    size_t sum = 0;
    for (const auto& [key, tensor] : optimizers().at(name)({at::zeros({4096}), {}})->state())
      sum += tensor.nbytes();
    return static_cast<double>(sum);
  };
  EXPECT_LT(bytes("adamw8bit") / bytes("adamw"), 0.26);
}

/// Parameters and state after some steps; the last block of the moments is short.
NamedTensors after_steps(at::Device device, const ops::cuda::Rows* rows) {
  const at::Tensor params = at::cos(at::arange(1000, at::kFloat)).to(device);
  StepsConfig config;
  config.weight_decay = 0.1;
  const auto optimizer = make_adamw8bit({params, config}, rows);
  for (int step = 1; step <= 5; ++step) {
    at::Tensor gradient = at::sin(at::arange(1000, at::kFloat) * step * 0.7);
    gradient.narrow(0, 256, 256).zero_();  // a block without a largest value
    optimizer->step(gradient.to(device), 0.05);
  }
  NamedTensors result = optimizer->state();
  result.emplace_back("params", params.cpu());
  return result;
}

TEST(AdamW8bit, HasTheBitsOfTheHostFromItsKernelOnHostThreads) {
  const ops::cuda::Rows rows(cuda::host_row_kernels);
  const NamedTensors wanted = after_steps(at::kCPU, nullptr), got = after_steps(at::kCPU, &rows);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i)
    EXPECT_TRUE(at::equal(got[i].second, wanted[i].second)) << wanted[i].first;
}

TEST(AdamW8bit, EndsOnAGpuWhereItEndsOnTheHost) {
  const std::optional<at::Device> gpu = this_machines_gpu();
  if (!gpu) GTEST_SKIP() << kNoGpu;
  const ops::cuda::Rows* rows = ops::cuda::rows_for(at::zeros({1}, *gpu));
  if (!rows) GTEST_SKIP() << "no kernels for this GPU in this build";
  const at::Tensor wanted = after_steps(at::kCPU, nullptr).back().second;
  const at::Tensor got = after_steps(*gpu, rows).back().second;
  // A product and a sum are one rounding there, so a code here and there is its neighbour.
  EXPECT_LT((got - wanted).abs().mean().item<double>(), 1e-4);
}

TEST(AdamW8bit, EndsNearAdamWOnANoisySlope) {
  const at::Tensor target = at::sin(at::arange(1024, at::kFloat));
  std::vector<double> distances;
  for (const char* name : {"adamw", "adamw8bit"}) {
    const at::Tensor params = at::zeros({1024});
    const auto optimizer = optimizers().at(name)({params, {}});
    for (int step = 0; step < 200; ++step) {
      const at::Tensor noise = at::sin(at::arange(1024, at::kFloat) * (step + 2)) * 0.3;
      optimizer->step(params - target + noise, 0.02);
    }
    distances.push_back((params - target).abs().mean().item<double>());
  }
  EXPECT_LT(distances[1], distances[0] + 0.01);
}

}  // namespace
}  // namespace lora_dist
