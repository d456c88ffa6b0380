#include "core/planning/rehearsal.hpp"

#include "core/adapters/adapter.hpp"
#include "core/ops/ops.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/tasks/text_batch.hpp"
#include "core/tasks/text_generation.hpp"

namespace lora_dist {
namespace {

// Just large enough that the library makes the products and not our own loops for small ones.
constexpr int64_t kWidth = 256, kFeedForward = 512, kVocabulary = 2048, kTokens = 64;

DecoderSpec small_spec(DecoderSpec spec) {
  spec.hidden_size = kWidth;
  spec.vocab_size = kVocabulary;
  spec.blocks.resize(1);
  BlockSpec& block = spec.blocks.front();
  block.mlp.width = block.attention.width = kWidth;
  block.mlp.feed_forward = kFeedForward;
  block.attention.num_heads /= block.attention.num_kv_heads;
  block.attention.num_kv_heads = 1;
  return spec;
}

/// Weights of one value, made once.
class EvenWeights final : public WeightSource {
 public:
  explicit EvenWeights(const DecoderSpec& spec) {
    const DecoderOutline outline(spec);
    for (const WeightRow& row : outline.table().rows()) {
      weights_.push_back({row.name, &plain_format(at::kBFloat16), row.shape});
      values_.push_back(at::full(row.shape, 0.02, at::kBFloat16));
    }
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override { return values_[index]; }

 private:
  std::string location_ = "rehearsal";
  std::vector<WeightInfo> weights_;
  std::vector<at::Tensor> values_;  // [index in weights()]
};

}  // namespace

void rehearse_training(const DecoderSpec& spec, at::ScalarType compute) {
  const DecoderSpec small = small_spec(spec);
  EvenWeights weights(small);
  Decoder decoder(small, weights, {.compute = compute});
  const std::unique_ptr<Adapter> adapter =
      make_adapter({.groups = decoder.linear_groups(),
                    .config = {},
                    .targets = decoder.outline().table().linear_modules(),
                    .compute = compute});
  adapter->initialize(/*seed=*/0);
  adapter->attach(/*weight=*/1);
  const std::unique_ptr<Optimizer> optimizer =
      optimizers().at("adamw")({.params = adapter->params().flat(), .config = {}});
  const at::Tensor tokens_BT = at::arange(kTokens, at::kLong).unsqueeze(0);
  make_text_generation_task(decoder)->forward_backward(
      to_batch({.tokens_BT = tokens_BT, .labels_BT = tokens_BT}, kTokens, kTokens),
      {.training = true}, {});
  const at::Tensor gradient = adapter->params().take_gradient();
  ops::sum_of_squares(gradient);
  optimizer->step(gradient, /*learning_rate=*/0);
}

}  // namespace lora_dist
