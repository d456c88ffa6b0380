// Learning rates against transformers 5.23 (get_scheduler, 4 warm-up steps of 20, peak 2e-3).

#include <gtest/gtest.h>

#include "core/schedules/schedule.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kSteps[] = {0, 3, 4, 11, 19};

const std::map<std::string, std::vector<double>>& expected_rates() {
  static const std::map<std::string, std::vector<double>> rates = {
      {"linear", {0.0, 0.0015, 0.002, 0.0011250000000000001, 0.000125}},
      {"cosine", {0.0, 0.0015, 0.002, 0.0011950903220161284, 1.921471959676957e-05}},
      {"cosine_with_restarts", {0.0, 0.0015, 0.002, 0.0011950903220161284, 1.921471959676957e-05}},
      {"polynomial", {0.0, 0.0015, 0.002, 0.00112504375, 0.00012509375000000002}},
      {"constant", {0.002, 0.002, 0.002, 0.002, 0.002}},
      {"constant_with_warmup", {0.0, 0.0015, 0.002, 0.002, 0.002}},
      {"inverse_sqrt", {0.0, 0.0015, 0.002, 0.0012060453783110546, 0.000917662935482247}},
      {"cosine_with_min_lr", {0.0, 0.0015, 0.002, 0.0012755812898145155, 0.00021729324763709263}},
      {"warmup_stable_decay", {0.0, 0.0015, 0.002, 0.002, 0.001}},
      {"reduce_lr_on_plateau", {0.002, 0.002, 0.002, 0.002, 0.002}},
  };
  return rates;
}

StepsConfig config_of(std::string_view scheduler) {
  StepsConfig config;
  config.scheduler = scheduler;
  config.learning_rate = 2e-3;
  config.warmup_steps = 4;
  return config;
}

class EverySchedule : public testing::TestWithParam<std::string_view> {};

TEST_P(EverySchedule, GivesTheRatesOfTransformers) {
  const Schedule schedule = make_schedule(config_of(GetParam()), 20);
  const std::vector<double>& expected = expected_rates().at(std::string(GetParam()));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(schedule(kSteps[i], {}), expected[i], 1e-15) << "after " << kSteps[i] << " steps";
}

INSTANTIATE_TEST_SUITE_P(Registry, EverySchedule, testing::ValuesIn(schedules().names()),
                         [](const auto& info) { return std::string(info.param); });

TEST(Schedule, TakesWarmupFromTheRatioWhenNoStepsAreNamed) {
  StepsConfig config = config_of("constant_with_warmup");
  config.warmup_steps = 0;
  config.warmup_ratio = 0.19;  // of 20 steps: 3.8, rounded up
  const Schedule schedule = make_schedule(config, 20);
  EXPECT_DOUBLE_EQ(schedule(2, {}), 1e-3);
  EXPECT_DOUBLE_EQ(schedule(4, {}), 2e-3);
}

TEST(ReduceLrOnPlateau, DividesByTenAfterElevenEvaluationsWithoutProgress) {
  const Schedule schedule = make_schedule(config_of("reduce_lr_on_plateau"), 100);
  std::vector<double> losses(11, 1.0);
  EXPECT_DOUBLE_EQ(schedule(50, losses), 2e-3);
  losses.push_back(1.0);
  EXPECT_DOUBLE_EQ(schedule(50, losses), 2e-4);
  losses.push_back(0.5);
  EXPECT_DOUBLE_EQ(schedule(50, losses), 2e-4);
}

}  // namespace
}  // namespace lora_dist
