#include "core/rehearsal.hpp"

#include "core/adapters/adapter.hpp"
#include "core/models/decoder.hpp"
#include "core/ops/ops.hpp"
#include "core/optimizers/optimizer.hpp"

namespace lora_dist {
namespace {

// Just large enough that the library makes the products and not our own loops for small ones.
constexpr int64_t kWidth = 256, kFeedForward = 512, kVocabulary = 2048, kTokens = 64;

DecoderSpec small_spec(DecoderSpec spec) {
  const int64_t group = spec.num_heads / spec.num_kv_heads;
  spec.num_layers = 1;
  spec.hidden_size = kWidth;
  spec.intermediate_size = kFeedForward;
  spec.vocab_size = kVocabulary;
  spec.num_kv_heads = 1;
  spec.num_heads = group;
  spec.windows.resize(1);
  return spec;
}

/// Weights of one value, made once.
class EvenWeights final : public WeightSource {
 public:
  explicit EvenWeights(const DecoderSpec& spec) {
    for (const WeightRow& row : weight_rows(spec)) {
      weights_.push_back({row.name, at::kBFloat16, row.shape});
      values_.push_back(at::full(row.shape, 0.02, at::kBFloat16));
    }
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  at::Tensor acquire(size_t index) override { return values_[index]; }

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
  std::vector<std::string> targets;
  for (const LinearGroup* group : decoder.linear_groups())
    for (const Linear& linear : group->linears()) targets.push_back(linear.name());
  const std::unique_ptr<Adapter> adapter = adapters().at("lora")(
      {.groups = decoder.linear_groups(), .config = {}, .targets = targets, .compute = compute});
  adapter->initialize(/*seed=*/0);
  adapter->attach(/*weight=*/1);
  const std::unique_ptr<Optimizer> optimizer =
      optimizers().at("adamw")({.params = adapter->params().flat(), .config = {}});
  const at::Tensor tokens_BT = at::arange(kTokens, at::kLong).unsqueeze(0);
  decoder.forward_backward({.tokens_BT = tokens_BT, .labels_BT = tokens_BT}, {.training = true});
  const at::Tensor gradient = adapter->params().take_gradient();
  ops::sum_of_squares(gradient);
  optimizer->step(gradient, /*learning_rate=*/0);
}

}  // namespace lora_dist
