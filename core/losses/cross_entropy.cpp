// Cross entropy: log(sum over classes of exp(logit)) - logit of the label.
#include "core/losses/loss.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist {
namespace {

class CrossEntropy final : public Loss {
 public:
  at::Tensor of_rows(at::Tensor logits_CV, const RowTargets& targets, double softcap,
                     bool gradient) const override {
    const at::Tensor losses_C = ops::cross_entropy(logits_CV, targets.labels_C, softcap, gradient);
    if (gradient && targets.weights_C.defined())
      logits_CV.mul_(targets.weights_C.unsqueeze(1));  // of a row the gradient is linear in it
    return losses_C;
  }
};

}  // namespace

std::unique_ptr<Loss> make_cross_entropy_loss() { return std::make_unique<CrossEntropy>(); }

}  // namespace lora_dist
