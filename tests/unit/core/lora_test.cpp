// LoRA on a group of layers, forward and backward, against autograd over the published formula,
// layer by layer.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "tests/support/three_layers.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kRows = 12, kIn = ThreeLayers::kIn;
const std::vector<int64_t>& kOut = ThreeLayers::kOut;
const std::vector<std::string>& kNames = ThreeLayers::kNames;
const PassContext kTraining{.training = true, .seed = 3, .step = 2, .slot = 1};

struct Adapted {
  size_t layer;
  int64_t rank;
  uint32_t module;  // its number among the targets, which dropout's stream holds
};
const std::vector<Adapted> kAdapted = {{0, 4, 0}, {2, 2, 1}};  // k_proj has no adapter

class LoraOnAGroup : public testing::TestWithParam<double> {  // lora_dropout
 protected:
  LoraOnAGroup() : group_(source_.linears()) {
    at::manual_seed(17);
    AdapterConfig config{.lora_rank = 4, .lora_alpha = 6.0, .lora_dropout = GetParam()};
    config.rank_pattern = {{"v_proj", 2}};
    adapter_ =
        make_adapter({.groups = {&group_}, .config = config, .targets = {kNames[0], kNames[2]}});
    TrainableParams& params = adapter_->params();
    for (size_t i = 0; i < params.entries().size(); ++i)
      params.view(i).copy_(at::randn(params.entries()[i].shape));
    adapter_->attach(1);
    x_ = at::randn({kRows, kIn});
    for (const int64_t width : kOut) dy_.push_back(at::randn({kRows, width}));
  }

  /// scale * B(A(drop(x))) with scale = alpha / rank.
  at::Tensor delta(const Adapted& one, const at::Tensor& x, const at::Tensor& a,
                   const at::Tensor& b) const {
    at::Tensor dropped = x;
    if (GetParam() > 0) {  // the mask as a constant factor
      dropped = x * ops::dropout(at::ones({kRows, kIn}), GetParam(),
                                 {kTraining.seed, kTraining.step, kTraining.slot, one.module});
    }
    return at::matmul(at::matmul(dropped, a.t()), b.t()) * (6.0 / static_cast<double>(one.rank));
  }

  ThreeLayers source_;
  LinearGroup group_;
  std::unique_ptr<Adapter> adapter_;
  at::Tensor x_;
  std::vector<at::Tensor> dy_;
};

TEST_P(LoraOnAGroup, GivesTheGradientsOfEachLayerOnItsOwn) {
  TrainableParams& params = adapter_->params();
  at::Tensor x = x_.clone().set_requires_grad(true);
  std::vector<at::Tensor> learning;
  for (size_t i = 0; i < params.entries().size(); ++i)
    learning.push_back(params.view(i).clone().set_requires_grad(true));
  std::vector<at::Tensor> wanted;
  for (size_t l = 0; l < kNames.size(); ++l)
    wanted.push_back(at::matmul(x, source_.acquire(l).as_tensor().t()));
  for (size_t i = 0; i < kAdapted.size(); ++i) {
    at::Tensor& y = wanted[kAdapted[i].layer];
    y = y + delta(kAdapted[i], x, learning[2 * i], learning[2 * i + 1]);
  }
  at::Tensor sum = at::zeros({});
  for (size_t l = 0; l < kNames.size(); ++l) sum = sum + (wanted[l] * dy_[l]).sum();
  sum.backward();

  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> outputs = group_.forward(x_, kTraining);
  ASSERT_EQ(outputs.size(), wanted.size());
  for (size_t l = 0; l < outputs.size(); ++l)
    EXPECT_TRUE(at::allclose(outputs[l], wanted[l], 1e-4, 1e-4)) << kNames[l];
  at::Tensor dx;
  group_.backward(x_, dy_, dx, /*need_dx=*/true, kTraining);
  EXPECT_TRUE(at::allclose(dx, x.grad(), 1e-4, 1e-4));
  for (size_t i = 0; i < learning.size(); ++i)
    EXPECT_TRUE(at::allclose(params.gradient_view(i), learning[i].grad(), 1e-4, 1e-4))
        << params.entries()[i].name();
}

TEST_P(LoraOnAGroup, AddsToGradientsThatAreThere) {
  const at::NoGradGuard no_grad;
  at::Tensor dx;
  group_.backward(x_, dy_, dx, /*need_dx=*/false, kTraining);
  EXPECT_FALSE(dx.defined()) << "nobody asked for it";
  const at::Tensor once = adapter_->params().gradient().clone();
  group_.backward(x_, dy_, dx, /*need_dx=*/false, kTraining);
  EXPECT_TRUE(at::allclose(adapter_->params().gradient(), 2 * once, 1e-5, 1e-5));
}

TEST_P(LoraOnAGroup, MergesIntoItsLayersAlone) {
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(group_.has_adapter_on(0) && !group_.has_adapter_on(1) && group_.has_adapter_on(2));
  const PassContext inference;
  const std::vector<at::Tensor> outputs = group_.forward(x_, inference);
  for (size_t l = 0; l < outputs.size(); ++l) {
    const at::Tensor merged = group_.merged_weight(l, source_.acquire(l).as_tensor());
    EXPECT_TRUE(at::allclose(at::matmul(x_, merged.t()), outputs[l], 1e-4, 1e-4)) << kNames[l];
  }
}

INSTANTIATE_TEST_SUITE_P(Dropouts, LoraOnAGroup, testing::Values(0.0, 0.3),
                         [](const auto& info) { return info.param > 0 ? "Dropping" : "Keeping"; });

}  // namespace
}  // namespace lora_dist
