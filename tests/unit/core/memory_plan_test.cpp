// What the plan counts beside what bench/plan_memory.py holds against runs: on a GPU, and piece by
// piece on the CPU.
#include "core/planning/memory_plan.hpp"

#include <gtest/gtest.h>

#include "core/planning/plan.hpp"
#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

// Attention is the largest part of a block: 8 heads of 128 features share 2 key heads, the
// feed-forward part is as narrow as the model. Two rows of 4096 tokens in bf16.
constexpr int64_t kTokens = 2 * 4096;
constexpr int64_t kHiddenState = kTokens * 1024 * 2;  // bytes of (N, D), and of (N, F)

class MemoryPlanOnAGpu : public testing::Test {
 protected:
  // An adapter of lora_rank 8 on down_proj.
  MemoryPlan plan() const {
    const PassShape shape{.batch_size = 2,
                          .tokens = 4096,
                          .compute_bytes = compute_bytes_,
                          .product_bytes = compute_bytes_,
                          .on_gpu = on_gpu_,
                          .deterministic = deterministic_};
    const ModelProfile profile =
        model_.profile(shape, [](const std::vector<std::string>& modules, int64_t, const auto& of) {
          const int64_t rank = modules.front().ends_with("down_proj") ? 8 : 0;
          return AdapterLoad{of.activation(rank), of.activation(5 * rank)};
        });
    return plan_memory({.table = model_.table(),
                        .base = base_,
                        .model = profile,
                        .shape = shape,
                        .trainable_parameters = 1000,
                        .records_blocks = records_blocks_});
  }

  const DecoderOutline model_{paper_llama({2, 1024, 1024, 8, 2, 1000})};
  std::vector<WeightInfo> base_ = PaperWeights(model_.spec()).weights();  // bf16
  bool on_gpu_ = true, deterministic_ = true, records_blocks_ = false;
  int64_t compute_bytes_ = 2;
};

TEST_F(MemoryPlanOnAGpu, CountsThePartialSumsOfFlashAttentionsBackward) {
  // 132 multiprocessors over 2 x 8 heads: nine sums of (2, 4096, 8, 128) in fp32 instead of one.
  const int64_t in_order = plan().activations;
  deterministic_ = false;
  EXPECT_EQ(in_order - plan().activations, (9 - 1) * kTokens * 8 * 128 * 4);
  const int64_t in_any_order = plan().activations;
  on_gpu_ = false;
  // One sum, one number per token and head, gradients of keys and values of each head; without
  // them the attention ends with the norm: two hidden states.
  EXPECT_EQ(in_any_order - plan().activations,
            kTokens * 8 * 128 * 4 + kTokens * 8 * 4 + 2 * kHiddenState - 2 * kHiddenState);
}

// Each weight is asked: a norm in fp32 at the front of the file says nothing about the matrices.
TEST_F(MemoryPlanOnAGpu, CountsTheWidestPieceOfTheWeightsThatAreConverted) {
  EXPECT_EQ(plan().other, 0);
  const auto find = [&](const std::string& name) {
    return std::find_if(base_.begin(), base_.end(),
                        [&](const WeightInfo& weight) { return weight.name == name; });
  };
  std::rotate(base_.begin(), find("model.norm.weight"), base_.end());
  base_.front().format = &plain_format(at::kFloat);
  EXPECT_EQ(plan().other, 0);
  const auto key = find("model.layers.1.self_attn.k_proj.weight");
  for (const at::ScalarType stored : {at::kFloat, at::kHalf}) {  // as wide as bf16, and not bf16
    key->format = &plain_format(stored);
    EXPECT_EQ(plan().other, 256 * 1024 * 2);
  }
}

TEST_F(MemoryPlanOnAGpu, CountsNoPartialSumsWhereAttentionIsNotFlash) {
  compute_bytes_ = 4;
  const int64_t fp32 = plan().activations;
  deterministic_ = false;
  EXPECT_EQ(plan().activations, fp32);
  on_gpu_ = false;
  EXPECT_EQ(plan().activations, fp32);
}

TEST_F(MemoryPlanOnAGpu, CountsWhatRecordedBlocksKeepFromTheOthers) {
  const MemoryPlan without = plan();
  records_blocks_ = true;
  const MemoryPlan with = plan();
  // Hidden states between embedding, blocks and head; an evaluation's gated product, its block's
  // input and output and one more (N, D), and (N, R) with lora_rank 8.
  EXPECT_EQ(with.activations - without.activations,
            2 * kHiddenState + 4 * kHiddenState + kTokens * 8 * 2);
}

TEST_F(MemoryPlanOnAGpu, CountsNoSnapshotsThere) {
  EXPECT_EQ(plan().adapter, (4 + 4 + 2) * 1000) << "values, gradient, copy in bf16";
}

class MemoryPlanOnTheCpu : public testing::Test {
 protected:
  MemoryPlan plan() const {
    const ModelProfile profile =
        model_.profile(shape_, [](const auto&...) { return AdapterLoad{}; });
    return plan_memory({.table = model_.table(),
                        .base = base_,
                        .model = profile,
                        .shape = shape_,
                        .trainable_parameters = trainable_parameters_,
                        .saves_checkpoints = saves_checkpoints_,
                        .keeps_best = keeps_best_});
  }

  const DecoderOutline model_{paper_llama({2, 1024, 1024, 8, 2, 1000})};
  std::vector<WeightInfo> base_ = PaperWeights(model_.spec()).weights();  // bf16
  PassShape shape_{.batch_size = 1, .tokens = 64};
  int64_t trainable_parameters_ = 1'000'000;
  bool saves_checkpoints_ = false, keeps_best_ = false;
};

TEST_F(MemoryPlanOnTheCpu, PutsASnapshotWhereAStepsActivationsWere) {
  shape_.tokens = 4096;
  const MemoryPlan without = plan();
  saves_checkpoints_ = true;
  EXPECT_EQ(plan().total(), without.total()) << "12 MB of snapshot fit";
}

TEST_F(MemoryPlanOnTheCpu, CountsWhatOfASnapshotFindsNoPlaceThere) {
  trainable_parameters_ = 100'000'000;
  const MemoryPlan without = plan();  // 4 bytes a parameter for the export alone
  saves_checkpoints_ = true;
  EXPECT_EQ(plan().total() - without.total(), 8 * 100'000'000);
}

TEST_F(MemoryPlanOnTheCpu, CountsTheBestAdapterThatIsKept) {
  const MemoryPlan without = plan();
  keeps_best_ = true;
  EXPECT_EQ(plan().total() - without.total(), 4 * 1'000'000);
}

TEST(MemoryPlan, CountsWhatAdaptersOnOneInputTakeTogether) {
  const DecoderSpec spec = paper_llama({2, 1024, 1024, 8, 2, 1000});
  const DecoderOutline model(spec);
  const PaperWeights base(spec);
  const auto activations = [&](const std::vector<std::string>& layers, double dropout) {
    PlanRequest request{.model = model,
                        .targets = modules_of_every_block(spec, layers),
                        .batch_size = 1,
                        .tokens = 4096,
                        .base = base};
    request.adapter.lora_rank = 8;
    request.adapter.lora_dropout = dropout;
    return plan_run(request).memory.activations;
  };
  const std::vector<std::string> all = {"q_proj", "k_proj", "v_proj"};
  EXPECT_EQ(activations(all, 0) - activations({"q_proj"}, 0), 2 * (3 - 1) * 8 * 4096 * 4)
      << "x A^T and its gradient, for all three at once";
  EXPECT_EQ(activations(all, 0.1), activations({"q_proj"}, 0.1))
      << "with a dropout each layer has an input of its own";
}

}  // namespace
}  // namespace lora_dist
