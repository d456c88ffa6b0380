// What fits, and what is proposed where it does not. Limits are set one byte below and at what the
// plan of a setting needs, so every choice hangs on one byte.
#include "core/planning/fit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/units.hpp"
#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

class FitTest : public testing::Test {
 protected:
  FitRequest request(std::vector<Sharding> shardings = {Sharding::shared}, bool on_gpu = false) {
    PlanRequest plan{.model = model_,
                     .targets = modules_of_every_block(spec_, {"q_proj", "v_proj"}),
                     .tokens = tokens_,
                     .base = base_,
                     .ranks = HostLayout::in_blocks(num_ranks_, num_hosts_),
                     .on_gpu = on_gpu};
    plan.slots_per_step =
        steps_.global_batch_size ? *steps_.global_batch_size / steps_.batch_size : num_ranks_;
    return {.plan = plan, .steps = steps_, .shardings = std::move(shardings)};
  }

  RunPlan plan_of(const Setting& setting) {
    PlanRequest plan = request({}, setting.sharding != Sharding::shared).plan;
    plan.sharding = setting.sharding;
    plan.recompute_blocks = setting.recompute_blocks;
    plan.batch_size = setting.batch_size;
    plan.slots_per_step = plan.slots_per_step * steps_.batch_size / setting.batch_size;
    return plan_run(plan);
  }
  int64_t needed(const Setting& setting) { return plan_of(setting).held_bytes(); }

  static Fit fit_in(FitRequest request, int64_t available_bytes) {
    request.available_bytes = available_bytes;
    return find_fit(request);
  }
  static std::map<std::string, std::string> proposed(const FitRequest& request, const Fit& fit) {
    if (!fit.proposal) return {};
    const auto keys = changed_keys(request, fit.proposal->setting);
    return {keys.begin(), keys.end()};
  }

  const DecoderSpec spec_ = paper_llama({8, 1024, 2816, 16, 16, 32000});
  const DecoderOutline model_{spec_};
  const PaperWeights base_{spec_};
  StepsConfig steps_;
  int64_t tokens_ = 512;
  int num_ranks_ = 1, num_hosts_ = 1;
};

TEST_F(FitTest, LeavesARunAloneThatFits) {
  const Setting as_is{Sharding::shared, false, 4};
  const RunPlan plan = plan_of(as_is);
  const Fit fit = fit_in(request(), plan.held_bytes() + plan.mapped_bytes);
  EXPECT_TRUE(fit.fits);
  EXPECT_TRUE(fit.keeps_base);
  EXPECT_FALSE(fit.setting.recompute_blocks);
  EXPECT_FALSE(fit.proposal);
}

TEST_F(FitTest, RebuildsBlocksByItselfWhereTheConfigLeavesItOpen) {
  const int64_t kept = needed({Sharding::shared, false, 4});
  const int64_t rebuilt = needed({Sharding::shared, true, 4});
  ASSERT_LT(rebuilt, kept);
  const Fit fit = fit_in(request(), kept - 1);
  EXPECT_TRUE(fit.fits);
  EXPECT_TRUE(fit.setting.recompute_blocks);
  EXPECT_EQ(fit.plan.held_bytes(), rebuilt);
}

TEST_F(FitTest, ProposesToRebuildBlocksWhereTheConfigSaysNo) {
  steps_.gradient_checkpointing = "false";
  const int64_t kept = needed({Sharding::shared, false, 4});
  EXPECT_TRUE(fit_in(request(), kept).fits);
  const Fit fit = fit_in(request(), kept - 1);
  EXPECT_FALSE(fit.fits);
  EXPECT_EQ(proposed(request(), fit),
            (std::map<std::string, std::string>{{"gradient_checkpointing", "true"}}));
  EXPECT_EQ(fit.proposal->plan.held_bytes(), needed({Sharding::shared, true, 4}));
}

TEST_F(FitTest, ProposesHalfTheBatchAtTheSameGlobalBatch) {
  steps_.gradient_accumulation_steps = 3;
  FitRequest ours = request();
  ours.plan.slots_per_step = 3;
  ours.available_bytes = needed({Sharding::shared, true, 4}) - 1;
  const Fit fit = find_fit(ours);
  EXPECT_EQ(proposed(ours, fit),
            (std::map<std::string, std::string>{{"batch_size", "2"},
                                                {"gradient_accumulation_steps", "6"},
                                                {"gradient_checkpointing", "true"}}));
  EXPECT_EQ(fit.proposal->plan.work.tokens, fit.plan.work.tokens);
  EXPECT_EQ(fit.proposal->plan.work.num_micro_batches, 6);
}

TEST_F(FitTest, GoesDownByDivisorsSoThatTheGlobalBatchStaysAMultiple) {
  steps_.batch_size = 6;
  steps_.global_batch_size = 12;
  steps_.gradient_checkpointing = "true";
  const FitRequest ours = request();
  EXPECT_EQ(proposed(ours, fit_in(ours, needed({Sharding::shared, true, 6}) - 1)),
            (std::map<std::string, std::string>{{"batch_size", "3"}}));
  EXPECT_EQ(proposed(ours, fit_in(ours, needed({Sharding::shared, true, 3}) - 1)),
            (std::map<std::string, std::string>{{"batch_size", "1"}}));
  EXPECT_EQ(proposed(ours, fit_in(ours, needed({Sharding::shared, true, 1}) - 1)),
            (std::map<std::string, std::string>{{"batch_size", "1"}, {"max_seq_length", "256"}}));
}

TEST_F(FitTest, NeverRefusesBecauseOfAMappedBase) {
  steps_.gradient_checkpointing = "false";
  num_ranks_ = 4;
  const RunPlan plan = plan_of({Sharding::shared, false, 4});
  // 2 bytes of 135.5 million parameters; of an embedding that is not the head few rows are read.
  EXPECT_EQ(plan.mapped_bytes / 1'000'000, 271);
  const Fit barely = fit_in(request(), plan.held_bytes());
  EXPECT_TRUE(barely.fits);
  EXPECT_FALSE(barely.keeps_base);
  // One copy for the four ranks of the host.
  EXPECT_TRUE(fit_in(request(), plan.held_bytes() + plan.mapped_bytes / 4).keeps_base);
  EXPECT_FALSE(fit_in(request(), plan.held_bytes() + plan.mapped_bytes / 4 - 1).keeps_base);
}

TEST_F(FitTest, CountsNoMoreSamplesThanThereAre) {
  steps_.batch_size = 3;
  const int64_t of_three = needed({Sharding::shared, false, 3});
  steps_.batch_size = 1000;
  FitRequest ours = request();
  ours.num_samples = 3;
  EXPECT_EQ(fit_in(ours, int64_t{1} << 50).plan.held_bytes(), of_three);
}

TEST_F(FitTest, GathersInsideTheHostBeforeItRebuildsAndOverTheNetworkLast) {
  num_ranks_ = 16;
  num_hosts_ = 2;
  tokens_ = 64;  // weights decide
  const std::vector<Sharding> open =
      shardings_on_gpus("auto", HostLayout::in_blocks(num_ranks_, num_hosts_));
  ASSERT_EQ(open, (std::vector<Sharding>{Sharding::none, Sharding::hybrid, Sharding::full}));
  const FitRequest ours = request(open, /*on_gpu=*/true);
  const int64_t none = needed({Sharding::none, false, 4});
  const int64_t hybrid = needed({Sharding::hybrid, false, 4});
  ASSERT_LT(hybrid, needed({Sharding::none, true, 4}));
  EXPECT_EQ(fit_in(ours, none).setting.sharding, Sharding::none);
  EXPECT_EQ(fit_in(ours, none - 1).setting.sharding, Sharding::hybrid);
  EXPECT_FALSE(fit_in(ours, none - 1).setting.recompute_blocks);
  EXPECT_TRUE(fit_in(ours, hybrid - 1).setting.recompute_blocks);
  EXPECT_EQ(fit_in(ours, hybrid - 1).setting.sharding, Sharding::hybrid);
  EXPECT_EQ(fit_in(ours, needed({Sharding::hybrid, true, 4}) - 1).setting.sharding, Sharding::full);
}

TEST_F(FitTest, ProposesAnotherShardingLast) {
  num_ranks_ = 8;
  tokens_ = 64;
  steps_.gradient_checkpointing = "true";
  FitRequest ours = request({Sharding::none}, /*on_gpu=*/true);
  ours.more_shardings = {Sharding::hybrid, Sharding::full};
  const Fit fit = fit_in(ours, needed({Sharding::none, true, 1}) - 1);
  EXPECT_EQ(proposed(ours, fit), (std::map<std::string, std::string>{{"sharding", "hybrid"}}));
}

TEST_F(FitTest, SaysWhatIsNeededWhatIsFreeAndWhatToWrite) {
  const int64_t rebuilt = needed({Sharding::shared, true, 4});
  FitRequest ours = request();
  ours.available_bytes = rebuilt / 2 + needed({Sharding::shared, true, 2}) / 2;
  EXPECT_EQ(std::string(MemoryError(memory_fault(ours, find_fit(ours), "c03")).what()),
            "memory: this run needs " + gib_text(rebuilt) + " per rank beside the mapped base, " +
                gib_text(ours.available_bytes) +
                " are free on c03; batch_size: 2 with gradient_accumulation_steps: 2, "
                "gradient_checkpointing: true would need " +
                gib_text(needed({Sharding::shared, true, 2})));
}

TEST_F(FitTest, SaysWhatIsMissingWhereNothingFits) {
  const int64_t rebuilt = needed({Sharding::shared, true, 4});
  const RunPlan least = plan_of({Sharding::shared, true, 1});
  FitRequest ours = request();
  ours.available_bytes = 1;
  const Fit fit = find_fit(ours);
  EXPECT_FALSE(fit.proposal);
  EXPECT_EQ(
      std::string(MemoryError(memory_fault(ours, fit, "")).what()),
      "memory: this run needs " + gib_text(rebuilt) +
          " per rank beside the mapped base, 0.00 GiB are free; no batch_size, sharding or "
          "max_seq_length makes it fit: the least is " +
          gib_text(fit.least->held_bytes()) + " (" +
          fmt::format("activations {}, the program {}, adapter and optimizer {}",
                      gib_text(fit.least->memory.activations), gib_text(fit.least->memory.other),
                      gib_text(fit.least->memory.adapter + fit.least->memory.optimizer)) +
          "), so " + gib_text(fit.least->held_bytes() - 1) +
          " are missing; give each rank more memory");
  EXPECT_LT(fit.least->held_bytes(), least.held_bytes()) << "shorter samples count, too";
}

TEST_F(FitTest, ProposesAShorterLengthWhereActivationsDecide) {
  tokens_ = 4096;
  steps_.batch_size = 1;
  const Fit fit = fit_in(request(), needed({Sharding::shared, true, 1}) - 1);
  EXPECT_EQ(proposed(request(), fit),
            (std::map<std::string, std::string>{{"gradient_checkpointing", "true"},
                                                {"max_seq_length", "2048"}}));
}

TEST(FitOfALargeBase, IsProposedOverMoreGpusAndNotForShorterSamples) {
  const DecoderSpec spec = paper_llama({32, 4096, 11008, 32, 32, 32000});
  const DecoderOutline model(spec);
  const PaperWeights base(spec);
  StepsConfig steps;
  FitRequest request{.plan = {.model = model,
                              .targets = modules_of_every_block(spec, kAllLinear),
                              .compute_bytes = 2,
                              .product_bytes = 2,
                              .base = base,
                              .on_gpu = true},
                     .steps = steps,
                     .shardings = {Sharding::none},
                     .available_bytes = int64_t{12} << 30};
  EXPECT_THAT(memory_fault(request, find_fit(request), "").fix,
              testing::HasSubstr("give each rank more memory, or a smaller base"));
  request.most_ranks = 64;
  const Fit fit = find_fit(request);
  ASSERT_TRUE(fit.proposal);
  EXPECT_EQ(fit.proposal->setting.num_ranks, 2);
  EXPECT_EQ(fit.proposal->setting.sharding, Sharding::hybrid);
  EXPECT_EQ(fit.proposal->setting.max_seq_length, 0);
  EXPECT_THAT(memory_fault(request, fit, "").fix,
              testing::StartsWith("2 ranks with sharding: hybrid"));
}

// Whatever is proposed: with the keys written as they say, it fits, and nothing else is proposed.
TEST(FitProposals, FitWhenTheyAreApplied) {
  const std::vector<LlamaShape> shapes = {{4, 256, 512, 4, 2, 2000, true},
                                          {30, 576, 1536, 9, 3, 49152, true},
                                          {16, 2048, 8192, 32, 8, 128256, true},
                                          kLlama3_8B};
  int num_proposals = 0;
  for (const LlamaShape& shape : shapes) {
    const DecoderSpec spec = paper_llama(shape);
    const DecoderOutline model(spec);
    const PaperWeights base(spec);
    for (const bool on_gpu : {false, true})
      for (const double gib : {0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0}) {
        StepsConfig steps{.batch_size = 16};
        FitRequest request{.plan = {.model = model,
                                    .targets = modules_of_every_block(spec, kAllLinear),
                                    .batch_size = 16,
                                    .tokens = 2048,
                                    .base = base,
                                    .program_bytes = int64_t{200} << 20,
                                    .on_gpu = on_gpu},
                           .steps = steps,
                           .shardings = {on_gpu ? Sharding::none : Sharding::shared},
                           .most_ranks = on_gpu ? 64 : 0,
                           .available_bytes = static_cast<int64_t>(gib * (int64_t{1} << 30))};
        const Fit fit = find_fit(request);
        if (!fit.proposal) continue;
        ++num_proposals;
        SCOPED_TRACE(fmt::format("{} layers, {} GiB: {}", shape.layers, gib,
                                 memory_fault(request, fit, "").fix));
        for (const auto& [key, value] : changed_keys(request, fit.proposal->setting)) {
          if (key == "batch_size") {
            steps.batch_size = request.plan.batch_size = std::stoll(value);
          } else if (key == "gradient_accumulation_steps") {
            steps.gradient_accumulation_steps = std::stoll(value);
          } else if (key == "gradient_checkpointing") {
            steps.gradient_checkpointing = value;
          } else if (key == "max_seq_length") {
            request.plan.tokens = std::stoll(value);
          } else {
            ASSERT_EQ(key, "sharding");
            request.shardings = {value == "full" ? Sharding::full : Sharding::hybrid};
          }
        }
        const Setting& setting = fit.proposal->setting;
        const int ranks = std::max(1, setting.num_ranks);
        request.plan.ranks = HostLayout::in_blocks(ranks, std::max(1, setting.num_hosts));
        request.plan.slots_per_step = steps.gradient_accumulation_steps * ranks;
        request.plan.program_bytes += int64_t{2} << 20;  // measured anew
        EXPECT_TRUE(find_fit(request).fits);
      }
  }
  EXPECT_GT(num_proposals, 10);
}

}  // namespace
}  // namespace lora_dist
