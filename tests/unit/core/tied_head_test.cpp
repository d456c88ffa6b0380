#include "core/models/decoder/tied_head.hpp"

#include <map>

#include <gtest/gtest.h>

#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {
namespace {

/// Weights by name, in memory.
class NamedWeights final : public WeightSource {
 public:
  explicit NamedWeights(const std::map<std::string, at::Tensor>& tensors) {
    for (const auto& [name, tensor] : tensors) {
      weights_.push_back({name, &plain_format(tensor.scalar_type()), tensor.sizes().vec()});
      tensors_.push_back(tensor);
    }
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override { return tensors_[index]; }

 private:
  std::string location_ = "memory";
  std::vector<WeightInfo> weights_;
  std::vector<at::Tensor> tensors_;
};

class TiedHead : public testing::Test {
 protected:
  static DecoderSpec settled(const std::map<std::string, at::Tensor>& tensors, bool tied = true) {
    DecoderSpec spec;
    spec.tied_embeddings = tied;
    NamedWeights weights(tensors);
    settle_head(spec, weights);
    return spec;
  }
  const at::Tensor embedding_ = at::arange(24, at::kFloat).view({6, 4});
};

TEST_F(TiedHead, IsTheEmbeddingWhereItIsAbsentOrEqual) {
  EXPECT_TRUE(settled({{kEmbeddingWeight, embedding_}}).tied_embeddings);
  EXPECT_TRUE(
      settled({{kEmbeddingWeight, embedding_}, {kHeadWeight, embedding_.clone()}}).tied_embeddings);
  EXPECT_TRUE(settled({{kEmbeddingWeight, embedding_}, {kHeadWeight, embedding_.to(at::kBFloat16)}})
                  .tied_embeddings);
}

TEST_F(TiedHead, IsItsOwnWhereItDiffers) {
  at::Tensor other = embedding_.clone();
  other[5][3] += 1;
  const DecoderSpec spec = settled({{kEmbeddingWeight, embedding_}, {kHeadWeight, other}});
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_EQ(spec.embedding_weight, kEmbeddingWeight);
}

TEST_F(TiedHead, IsTheEmbeddingTooWhereTheFileHasItAlone) {
  DecoderSpec spec = settled({{kHeadWeight, embedding_}});
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.embedding_weight, kHeadWeight);
  const DecoderOutline outline(spec);
  EXPECT_EQ(outline.table().rows().front().name, kHeadWeight);
  const NamedWeights weights({{kHeadWeight, embedding_}, {"model.norm.weight", at::ones({4})}});
  EXPECT_EQ(weight_units(outline.table(), weights).front().size(), 2u);  // with the final norm
}

TEST_F(TiedHead, StaysUntiedWhereTheConfigDoesNotTie) {
  EXPECT_FALSE(settled({{kHeadWeight, embedding_}}, /*tied=*/false).tied_embeddings);
}

}  // namespace
}  // namespace lora_dist
