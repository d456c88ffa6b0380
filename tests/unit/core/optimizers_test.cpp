// What every optimizer keeps to, and AdamW's arithmetic.

#include <cmath>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "core/optimizers/optimizer.hpp"

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

}  // namespace
}  // namespace lora_dist
