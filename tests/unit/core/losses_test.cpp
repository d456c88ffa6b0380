// What every loss keeps to: its gradient is that of its value, and a row counts by its weight.
//
// Shapes: C rows, V classes, D width.

#include <gtest/gtest.h>

#include "core/losses/loss.hpp"
#include "core/models/layers/language_head.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kNumRows = 5, kClasses = 7, kWidth = 6;

class EveryLoss : public testing::TestWithParam<std::string_view> {
 protected:
  EveryLoss() {
    at::manual_seed(29);
    logits_CV_ = 3 * at::randn({kNumRows, kClasses});
    targets_.labels_C = at::randint(kClasses, {kNumRows}, at::kLong);
    targets_.weights_C = at::tensor({1.0F, 0.25F, 0.0F, -2.0F, 3.0F});
  }

  at::Tensor losses_of(const at::Tensor& logits_CV, double softcap) const {
    return loss_->of_rows(logits_CV.clone(), targets_, softcap, /*gradient=*/false);
  }
  at::Tensor gradient_of(const RowTargets& targets, double softcap) const {
    at::Tensor gradient_CV = logits_CV_.clone();
    loss_->of_rows(gradient_CV, targets, softcap, /*gradient=*/true);
    return gradient_CV;
  }

  std::unique_ptr<Loss> loss_ = losses().at(GetParam())();
  at::Tensor logits_CV_;
  RowTargets targets_;
};

TEST_P(EveryLoss, HasTheGradientOfItsWeightedSum) {
  constexpr double kStep = 0.01;
  for (const double softcap : {0.0, 4.0}) {
    const at::Tensor gradient_CV = gradient_of(targets_, softcap);
    for (int64_t row = 0; row < kNumRows; ++row)
      for (int64_t column = 0; column < kClasses; ++column) {
        at::Tensor above = logits_CV_.clone(), below = logits_CV_.clone();
        above[row][column] += kStep;
        below[row][column] -= kStep;
        const at::Tensor difference_C = losses_of(above, softcap) - losses_of(below, softcap);
        const double slope = (difference_C * targets_.weights_C).sum().item<double>() / (2 * kStep);
        EXPECT_NEAR(gradient_CV[row][column].item<double>(), slope, 2e-4)
            << "softcap " << softcap << ", row " << row << ", class " << column;
      }
  }
}

TEST_P(EveryLoss, CountsARowByItsWeight) {
  const at::Tensor plain_CV = gradient_of({targets_.labels_C}, /*softcap=*/0);
  const at::Tensor weighted_CV = gradient_of(targets_, /*softcap=*/0);
  EXPECT_TRUE(at::allclose(weighted_CV, plain_CV * targets_.weights_C.unsqueeze(1)));
  EXPECT_EQ(weighted_CV[2].abs().max().item<double>(), 0);
  EXPECT_GT(plain_CV[2].abs().max().item<double>(), 0);
}

TEST_P(EveryLoss, SaysTheLossOfARowBeforeItsWeight) {
  at::Tensor scratch_CV = logits_CV_.clone();
  const at::Tensor plain_C =
      loss_->of_rows(scratch_CV, {targets_.labels_C}, /*softcap=*/0, /*gradient=*/false);
  EXPECT_TRUE(at::equal(losses_of(logits_CV_, /*softcap=*/0), plain_C));
  EXPECT_EQ(plain_C.scalar_type(), at::kDouble);
}

/// The vectors of a vocabulary, in memory.
class Vocabulary final : public WeightSource {
 public:
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t) override { return values_VD_; }

 private:
  std::string location_ = "memory";
  std::vector<WeightInfo> weights_ = {{"head", &plain_format(at::kFloat), {kClasses, kWidth}}};
  at::Tensor values_VD_ = at::randn({kClasses, kWidth});
};

TEST_P(EveryLoss, ReachesTheHeadsSumAndGradientByTheRowsWeights) {
  Vocabulary vocabulary;
  LanguageHead head({.width = kWidth, .vocab_size = kClasses}, RmsNorm(at::ones({kWidth}), {}),
                    FrozenWeight(vocabulary, 0));
  const at::Tensor hidden_ND = at::randn({kNumRows + 2, kWidth});  // two rows without a label
  LabelledRows labelled{at::arange(kNumRows), {targets_.labels_C}};
  at::Tensor plain_ND, weighted_ND;
  const HeadLosses plain = head.losses(hidden_ND, labelled, *loss_, &plain_ND);
  labelled.targets.weights_C = targets_.weights_C;
  const HeadLosses weighted = head.losses(hidden_ND, labelled, *loss_, &weighted_ND);

  EXPECT_TRUE(at::allclose(weighted.rows_R, plain.rows_R));
  EXPECT_NEAR(weighted.sum.item<double>(), (plain.rows_R * targets_.weights_C).sum().item<double>(),
              1e-9);
  const at::Tensor scale = at::cat({targets_.weights_C, at::zeros({2})}).unsqueeze(1);
  EXPECT_TRUE(at::allclose(weighted_ND, plain_ND * scale, /*rtol=*/1e-4, /*atol=*/1e-6));
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryLoss, testing::ValuesIn(losses().names()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lora_dist
