// When the blocks of a run can be CUDA graphs, and what a run that asks for them in vain is told.
#include <gtest/gtest.h>

#include "launcher/run/base_model.hpp"
#include "tests/support/paper_weights.hpp"

namespace lora_dist {
namespace {

class GraphObstacles : public testing::Test {
 protected:
  std::string obstacle() const {
    return obstacle_to_graphs({device_, capability_, sharding_, multiplied_, base_});
  }

  const PaperWeights base_{paper_llama({1, 64, 96, 4, 2, 100})};  // bf16
  at::Device device_{at::kCUDA, 0};
  int capability_ = 90;
  Sharding sharding_ = Sharding::none;
  at::ScalarType multiplied_ = at::kBFloat16;
};

TEST_F(GraphObstacles, AreNoneForAWholeBaseOnAGpuInTheNumberFormatOfItsProducts) {
  EXPECT_EQ(obstacle(), "");
}

TEST_F(GraphObstacles, AreACpuAnOldGpuACutBaseAndWeightsThatAreConverted) {
  multiplied_ = at::kFloat;
  EXPECT_EQ(obstacle(), "'model.embed_tokens.weight' is stored as BF16 and multiplied as F32");
  sharding_ = Sharding::hybrid;
  EXPECT_EQ(obstacle(), "sharding: hybrid gathers the layers anew in each pass");
  capability_ = 75;
  EXPECT_EQ(obstacle(), "that takes a GPU from Ampere on and a build with the CUDA profile");
  device_ = at::kCPU;
  EXPECT_EQ(obstacle(), "this run computes on the CPU");
}

}  // namespace
}  // namespace lora_dist
