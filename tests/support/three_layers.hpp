// Three linear layers that read one input, with weights that were drawn.
#pragma once

#include <string>
#include <vector>

#include "core/models/layers/linear.hpp"

namespace lora_dist {

class ThreeLayers final : public WeightSource {
 public:
  static constexpr int64_t kIn = 20;
  inline static const std::vector<int64_t> kOut = {24, 8, 10};
  inline static const std::vector<std::string> kNames = {"attn.q_proj", "attn.k_proj",
                                                         "attn.v_proj"};

  /// The weights of all layers, and behind them the bias of the last one.
  ThreeLayers() {
    at::manual_seed(13);
    for (size_t i = 0; i < kNames.size(); ++i) {
      weights_.push_back({kNames[i] + ".weight", &plain_format(at::kFloat), {kOut[i], kIn}});
      values_.push_back(at::randn({kOut[i], kIn}));
    }
    weights_.push_back({kNames.back() + ".bias", &plain_format(at::kFloat), {kOut.back()}});
    values_.push_back(at::randn({kOut.back()}));
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override { return values_[index]; }

  std::vector<Linear> linears(bool with_bias = false) {
    std::vector<Linear> all;
    for (size_t i = 0; i < kNames.size(); ++i)
      all.emplace_back(kNames[i], FrozenWeight(*this, i),
                       with_bias && i + 1 == kNames.size() ? FrozenWeight(*this, kNames.size())
                                                           : FrozenWeight());
    return all;
  }

 private:
  std::string location_ = "three layers";
  std::vector<WeightInfo> weights_;
  std::vector<at::Tensor> values_;
};

}  // namespace lora_dist
