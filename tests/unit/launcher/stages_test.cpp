// A stage of a start is a value: it can be made without those before it.
#include "launcher/run/stages.hpp"

#include <gtest/gtest.h>

#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

// Opened, as far as adapter and memory are concerned: no ranks have met, no file was read.
OpenedRun opened(const Config& config, PaperWeights& weights, const DecoderSpec& spec) {
  OpenedRun run{JoinedRun{.asked = config, .config = config}};
  run.base_dir = "bases/paper";
  run.base.outline = make_decoder_outline(spec);
  run.base.model = run.base.outline->build(weights, {});
  run.targets = modules_of_every_block(spec, {"q_proj", "down_proj"});
  return run;
}

class Stages : public testing::Test {
 protected:
  const DecoderSpec spec_ = paper_llama({2, 64, 128, 4, 2, 100});
  PaperWeights weights_{spec_};
  Config config_;
};

TEST_F(Stages, GiveAFreshAdapterOnTheTargetsOfAnOpenedRun) {
  config_.adapter.lora_rank = 4;
  const OpenedRun run = opened(config_, weights_, spec_);
  // Two blocks, each q_proj 64 -> 64 and down_proj 128 -> 64.
  EXPECT_EQ(fresh_adapter(run, at::kCPU)->params().num_elements(),
            2 * 4 * ((64 + 64) + (128 + 64)));
}

TEST_F(Stages, OpenTheBaseWhereAndHowTheRunSays) {
  config_.model.dtype = "bf16";
  config_.distribution.deterministic = false;
  OpenedRun run = opened(config_, weights_, spec_);
  run.sharding = Sharding::none;
  const OpenRequest request = open_request(run, /*recompute_blocks=*/true);
  EXPECT_EQ(request.base, "bases/paper");
  EXPECT_EQ(request.dtype, "bf16");
  EXPECT_EQ(request.device, "cpu");
  EXPECT_EQ(request.sharding, Sharding::none);
  EXPECT_TRUE(request.recompute_blocks);
  EXPECT_FALSE(request.deterministic);
}

TEST_F(Stages, MoveOnWithAllThatTheOnesBeforeMade) {
  ReadyRun run{PreparedRun{opened(config_, weights_, spec_)}};
  run.adapter = fresh_adapter(run, at::kCPU);
  run.adapter->attach(/*weight=*/1);
  const ReadyRun moved = std::move(run);
  EXPECT_EQ(moved.targets.size(), 4u);
  EXPECT_TRUE(moved.base.decoder().linear_groups().front()->has_adapter());
}

}  // namespace
}  // namespace lora_dist
