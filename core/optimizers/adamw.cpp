// AdamW: Adam with decoupled weight decay, one fused pass over the flat buffer.
//
// Source  Loshchilov and Hutter 2019, algorithm 2; the same arithmetic as
// torch.optim.AdamW(fused=True).

#include "core/base/trace.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/optimizers/optimizer_state.hpp"
#include "core/optimizers/rates.hpp"

namespace lora_dist {
namespace {

class AdamW final : public Optimizer {
 public:
  explicit AdamW(OptimizerArgs args)
      : params_(args.params),
        config_(args.config),
        shares_(shares_by_rate(args.groups, params_.numel())),
        exp_avg_(at::zeros_like(params_)),
        exp_avg_sq_(at::zeros_like(params_)),
        num_updates_(at::zeros({}, params_.options())) {}

  void step(const at::Tensor& gradient, double learning_rate) override {
    const trace::Span span("optimizer");
    num_updates_.add_(1);
    for (const RateShare& share : shares_) {
      const std::vector<at::Tensor> params = share.parts_of(params_);
      at::_fused_adamw_(params, share.parts_of(gradient), share.parts_of(exp_avg_),
                        share.parts_of(exp_avg_sq_), /*max_exp_avg_sqs=*/{},
                        std::vector<at::Tensor>(params.size(), num_updates_),
                        learning_rate * share.factor, config_.adam_beta1, config_.adam_beta2,
                        config_.weight_decay, config_.adam_epsilon, /*amsgrad=*/false,
                        /*maximize=*/false);
    }
  }

  NamedTensors state() const override {
    return {{"exp_avg", exp_avg_.to(at::kCPU).clone()},
            {"exp_avg_sq", exp_avg_sq_.to(at::kCPU).clone()},
            {"step", num_updates_.to(at::kCPU).clone()}};
  }

  void restore(const NamedTensors& state, const std::string& where) override {
    restore_tensors(
        state, {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}, {"step", num_updates_}}, where);
  }

 private:
  at::Tensor params_;
  StepsConfig config_;
  std::vector<RateShare> shares_;
  at::Tensor exp_avg_, exp_avg_sq_;  // (P)
  at::Tensor num_updates_;           // scalar, fp32 as the fused kernel wants it
};

}  // namespace

OptimizerKind adamw_optimizer() {
  return {.make = [](OptimizerArgs args) -> std::unique_ptr<Optimizer> {
            return std::make_unique<AdamW>(std::move(args));
          },
          .state_bytes_per_parameter = 2 * sizeof(float),
          .help = "Adam with decoupled weight decay"};
}

}  // namespace lora_dist
