// What the plan counts beside what bench/plan_memory.py holds against runs: on a GPU, and piece by
// piece on the CPU.
#include "core/memory_plan.hpp"

#include <gtest/gtest.h>

#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

// Attention is the largest part of a block: 8 heads of 128 features share 2 key heads, the
// feed-forward part is as narrow as the model. Two rows of 4096 tokens in bf16.
constexpr int64_t kTokens = 2 * 4096;
constexpr int64_t kHiddenState = kTokens * 1024 * 2;  // bytes of (N, D), and of (N, F)

class MemoryPlanOnAGpu : public testing::Test {
 protected:
  MemoryPlan plan() const {
    return plan_memory({.spec = spec_,
                        .trainable_parameters = 1000,
                        .ranks = {.down = 8, .largest = 8},
                        .batch_size = 2,
                        .tokens = 4096,
                        .compute_bytes = compute_bytes_,
                        .product_bytes = compute_bytes_,
                        .on_gpu = on_gpu_,
                        .deterministic = deterministic_,
                        .records_blocks = records_blocks_});
  }

  const DecoderSpec spec_ = paper_llama({2, 1024, 1024, 8, 2, 1000});
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
  MemoryPlan plan() const { return plan_memory(request_); }

  const DecoderSpec spec_ = paper_llama({2, 1024, 1024, 8, 2, 1000});
  MemoryRequest request_{.spec = spec_,
                         .trainable_parameters = 1'000'000,
                         .ranks = {.qkv = 8, .largest = 8},
                         .batch_size = 1,
                         .tokens = 64,
                         .saves_checkpoints = false};
};

TEST_F(MemoryPlanOnTheCpu, PutsASnapshotWhereAStepsActivationsWere) {
  request_.tokens = 4096;
  const MemoryPlan without = plan();
  request_.saves_checkpoints = true;
  EXPECT_EQ(plan().total(), without.total()) << "12 MB of snapshot fit";
}

TEST_F(MemoryPlanOnTheCpu, CountsWhatOfASnapshotFindsNoPlaceThere) {
  request_.trainable_parameters = 100'000'000;
  const MemoryPlan without = plan();  // 4 bytes a parameter for the export alone
  request_.saves_checkpoints = true;
  EXPECT_EQ(plan().total() - without.total(), 8 * 100'000'000);
}

TEST_F(MemoryPlanOnTheCpu, CountsTheBestAdapterThatIsKept) {
  const MemoryPlan without = plan();
  request_.keeps_best = true;
  EXPECT_EQ(plan().total() - without.total(), 4 * 1'000'000);
}

TEST_F(MemoryPlanOnTheCpu, CountsWhatTheLayersOfOneInputHaveTogether) {
  request_.tokens = 4096;
  const int64_t one_layer = plan().activations;
  request_.ranks.qkv = 3 * 8;
  EXPECT_EQ(plan().activations - one_layer, 2 * (3 - 1) * 8 * 4096 * 4)
      << "x A^T and its gradient, for all three at once";
  request_.drops_inputs = true;
  const int64_t dropping = plan().activations;
  request_.ranks.qkv = 8;
  EXPECT_EQ(plan().activations, dropping) << "with a dropout each layer has an input of its own";
}

}  // namespace
}  // namespace lora_dist
