// FLOPs, bytes and times of shapes whose figures were worked out by hand, from the formulas of the
// cost model: 4 Nm + 7 s d_q L + 6 P_L and what sums and gathers send.
#include "core/planning/step_cost.hpp"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "core/planning/plan.hpp"
#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

struct Case {
  std::string name;
  LlamaShape shape;
  int64_t trainable;  // lora_rank 16 on all linear layers
  // GFLOP per token in a sequence of 4096; forward without the adapter.
  double forward, step, with_rebuilt;
};

const std::vector<Case> kCases = {
    {"Llama-3-8B", kLlama3_8B, 41'943'040, 16.1, 34.0, 49.1},
    {"Llama-3-70B", kLlama3_70B, 207'093'760, 144, 298, 441},
    {"TinyLlama-1.1B", {22, 2048, 5632, 32, 4, 32000}, 12'615'680, 2.4, 5.5, 7.8},
    {"Llama-3.2-1B", {16, 2048, 8192, 32, 8, 128256, true}, 11'272'192, 2.7, 6.0, 8.2},
};

ModelProfile profile_of(const DecoderSpec& spec, int64_t tokens) {
  return DecoderOutline(spec).profile({.tokens = tokens},
                                      [](const auto&...) { return AdapterLoad{}; });
}

double sum(const std::vector<double>& flops) {
  return std::accumulate(flops.begin(), flops.end(), double{0});
}

TEST(StepCost, CountsTheFlopsOfKnownModels) {
  for (const Case& known : kCases) {
    const DecoderSpec spec = paper_llama(known.shape);
    const ModelProfile model = profile_of(spec, /*tokens=*/4096);
    FlopsRequest request{.model = model, .trainable_parameters = known.trainable};
    const std::vector<double> flops = flops_of_token(request);
    const double head = flops.at(static_cast<size_t>(spec.num_blocks()) + 1);
    double forward = head / 2 - 2.0 * static_cast<double>(known.trainable);
    for (int64_t unit = 0; unit <= spec.num_blocks(); ++unit) forward += flops[unit];
    const double rounding = known.step < 100 ? 0.051 : 0.51;  // of the last digit
    EXPECT_NEAR(forward / 1e9, known.forward, rounding) << known.name;
    EXPECT_NEAR(sum(flops) / 1e9, known.step, rounding) << known.name;
    request.recompute_blocks = true;
    EXPECT_NEAR(sum(flops_of_token(request)) / 1e9, known.with_rebuilt, rounding) << known.name;
  }
}

TEST(StepCost, GoesBackOnlyToTheLowestAdaptedLayer) {
  const DecoderSpec spec = paper_llama({4, 64, 128, 4, 4, 100});
  const ModelProfile model = profile_of(spec, /*tokens=*/32);
  FlopsRequest request{.model = model, .trainable_parameters = 0};
  const std::vector<double> all = flops_of_token(request);
  request.lowest_adapted_block = 3;
  const std::vector<double> top = flops_of_token(request);
  ASSERT_EQ(all.size(), 10u);  // embedding, 4 blocks, head, 4 blocks
  ASSERT_EQ(top.size(), 7u);
  EXPECT_DOUBLE_EQ(sum(all) - sum(top), 3 * all.back());
}

TEST(StepCost, CountsTheKeysInsideAWindowOnly) {
  DecoderSpec spec = paper_llama({1, 64, 128, 4, 4, 100});
  const auto flops = [&] {
    const ModelProfile model = profile_of(spec, /*tokens=*/1024);
    return sum(flops_of_token({.model = model}));
  };
  const double whole = flops();
  spec.blocks.front().attention.window = 128;
  // Of 1024 positions all but the first 128 see 128: (128 * 64 + 896 * 128) / 1024 = 120 on
  // average, where 512 were seen before. 14 d_q FLOPs for each, forward and backward.
  EXPECT_DOUBLE_EQ(whole - flops(), 14.0 * 64 * (512 - 120));
}

TEST(StepCost, KnowsHowLongOneWaitsForTheSlowest) {
  EXPECT_EQ(mean_of_largest(1), 0);
  EXPECT_NEAR(mean_of_largest(2), 1 / std::sqrt(M_PI), 1e-5);
  EXPECT_NEAR(mean_of_largest(8), 1.42, 0.005);
  EXPECT_NEAR(mean_of_largest(64), 2.34, 0.006);
  EXPECT_NEAR(mean_of_largest(1000), 3.24, 0.005);
}

StepWork work_of_two_micro_batches() {
  return {.num_micro_batches = 2,
          .flops = {0, 4e12, 2e12},
          .gathers = {{10'000'000'000, 0}, {5'000'000'000, 0}, {50'000'000'000, 0}},
          .sums = {2'000'000'000, 3'000'000'000},
          .world_size = 16,
          .tokens = 1000};
}

TEST(StepCost, HidesAGatherBehindTheUnitBeforeIt) {
  const auto time =
      step_time(work_of_two_micro_batches(),
                {.flops_per_s = 1e12, .link_bytes_per_s = 10e9, .network_bytes_per_s = 1e9});
  ASSERT_TRUE(time);
  EXPECT_DOUBLE_EQ(time->compute_s, 12);
  EXPECT_DOUBLE_EQ(time->gather_s, 2 * (1 + 0.5 + 5));
  EXPECT_DOUBLE_EQ(time->exposed_gather_s, 2 * (1 + 0.5 + (5 - 4)));
  EXPECT_DOUBLE_EQ(time->sums_s, 0.2 + 3);
  EXPECT_DOUBLE_EQ(time->waiting_s, 0);
  EXPECT_DOUBLE_EQ(time->efficiency(), 12 / (12 + 5 + 3.2));
}

TEST(StepCost, HidesBucketsBehindTheRestOfTheBackwardPass) {
  // A backward pass of 2 + 2 s; 20 s of sums in buckets of 30, 30, 30 and 10 %. The first is final
  // after 0.3 of the pass, so what follows has 2.8 s of it.
  StepWork work{.num_micro_batches = 2,
                .flops = {0, 4e12, 1e12, 2e12, 2e12},
                .sums = {20'000'000'000, 0},
                .num_backward_units = 2,
                .first_bucket = 0.3,
                .last_bucket = 0.1,
                .world_size = 2};
  const MeasuredRates slow{.flops_per_s = 1e12, .link_bytes_per_s = 1e9},
      fast{.flops_per_s = 1e12, .link_bytes_per_s = 10e9};
  EXPECT_DOUBLE_EQ(step_time(work, slow)->sums_s, 20);
  EXPECT_DOUBLE_EQ(step_time(work, slow)->exposed_sums_s, 20 - 2.8);
  EXPECT_DOUBLE_EQ(step_time(work, fast)->exposed_sums_s, 0.1 * 2) << "the last bucket alone";
  EXPECT_DOUBLE_EQ(step_time(work, fast)->step_s(), 18 + 0.2);
  // Gathers of 1.5 s in each half of the pass leave 1 s of it.
  work.gathers = {{0, 0}, {0, 0}, {0, 0}, {1'500'000'000, 0}, {1'500'000'000, 0}};
  EXPECT_DOUBLE_EQ(step_time(work, slow)->exposed_sums_s, 20 - 0.7);
  work.first_bucket = work.last_bucket = 1;
  EXPECT_DOUBLE_EQ(step_time(work, fast)->exposed_sums_s, 2) << "a small adapter is one bucket";
}

TEST(StepCost, SaysNoTimeWhereARateThatItTakesIsMissing) {
  StepWork work = work_of_two_micro_batches();
  EXPECT_EQ(missing_rates(work, {}),
            (std::vector<std::string>{"--tflops", "--link-gbs", "--network-gbs"}));
  EXPECT_FALSE(step_time(work, {.flops_per_s = 1e12, .link_bytes_per_s = 1e9}));
  work.sums.of_host = 0;
  EXPECT_TRUE(step_time(work, {.flops_per_s = 1e12, .link_bytes_per_s = 1e9}));
}

/// lora_rank 16 on all linear layers, bf16 on GPUs, one micro-batch per rank.
RunPlan plan_on_gpus(const LlamaShape& shape, int num_ranks, int num_hosts, Sharding sharding) {
  const DecoderSpec spec = paper_llama(shape);
  const PaperWeights base(spec);
  const DecoderOutline model(spec);
  return plan_run({.model = model,
                   .targets = modules_of_every_block(spec, kAllLinear),
                   .adapter = {.lora_rank = 16},
                   .batch_size = 2,
                   .tokens = 4096,
                   .compute_bytes = 2,
                   .product_bytes = 2,
                   .base = base,
                   .ranks = HostLayout::in_blocks(num_ranks, num_hosts),
                   .slots_per_step = num_ranks,
                   .sharding = sharding,
                   .on_gpu = true});
}

TEST(ScalePlan, SendsTheAdapterOnlyAsTheCostModelSays) {
  // MB inside the host and to others, per GPU: 2 (I-1)/I G and 2 (M-1)/M G/I.
  const auto expect = [](const LlamaShape& shape, int hosts, double inside, double across) {
    const RunPlan plan = plan_on_gpus(shape, 8 * hosts, hosts, Sharding::hybrid);
    const auto other = static_cast<double>(plan.comm_bytes_inter_node_per_step);
    const double sums =
        static_cast<double>(plan.comm_bytes_per_step - plan.gather_bytes_per_step) - other;
    EXPECT_NEAR(sums / 1e6, inside, 0.01 * inside);
    EXPECT_NEAR(other / 1e6, across, 0.01 * across);
    EXPECT_EQ(plan.gather_bytes_inter_node_per_step, 0);
    // All eight GPUs of a host together.
    EXPECT_NEAR(static_cast<double>(plan.host_bytes_inter_node_per_step), 8 * other, 0.01 * other);
  };
  expect(kLlama3_8B, 8, 294, 36.7);
  expect(kLlama3_8B, 125, 294, 41.6);
  expect(kLlama3_70B, 8, 1450, 181);
  expect(kLlama3_70B, 125, 1450, 205);
}

TEST(ScalePlan, GathersTheBaseAsTheCostModelSays) {
  // Of Llama-3-70B, bf16: layers twice, embedding and head once; 2 bytes of 68.45e9 parameters in
  // layers and 1.0507e9 in each of the other two.
  const double pass = 2 * (2 * 68.45e9 + 2 * 1.0507e9);
  const RunPlan hybrid = plan_on_gpus(kLlama3_70B, 64, 8, Sharding::hybrid);
  EXPECT_NEAR(static_cast<double>(hybrid.gather_bytes_per_step), pass * 7 / 8, 0.001 * pass);
  const RunPlan full = plan_on_gpus(kLlama3_70B, 64, 8, Sharding::full);
  EXPECT_NEAR(static_cast<double>(full.gather_bytes_per_step), pass * 63 / 64, 0.001 * pass);
  // One ring runs over all hosts: what each host sends on is the pass.
  EXPECT_NEAR(static_cast<double>(full.host_bytes_inter_node_per_step - full.work.sums.of_host),
              pass * 63 / 64, 0.001 * pass);
}

TEST(ScalePlan, HoldsASliceAndTwoUnits) {
  // 2 bytes of 70.55e9 parameters over 8 ranks; head and last block in full: 2 * (1.0507e9 +
  // 0.8556e9).
  const RunPlan plan = plan_on_gpus(kLlama3_70B, 64, 8, Sharding::hybrid);
  const double expected = 2 * 70.55e9 / 8 + 2 * (1.0507e9 + 0.8556e9);
  EXPECT_NEAR(static_cast<double>(plan.memory.weights), expected, 0.005 * expected);
  EXPECT_EQ(plan.mapped_bytes, 0);
}

}  // namespace
}  // namespace lora_dist
