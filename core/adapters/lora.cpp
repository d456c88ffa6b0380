// LoRA: y = base(x) + scale * B(A(dropout(x))).
//
// Source  Hu et al. 2021, "LoRA", section 4.1; dropout, initialisation, scaling and names as PEFT
// has them. Shapes: N rows, I and O in and out features, R LoRA rank.

#include <cmath>

#include "core/adapters/adapter.hpp"
#include "core/error.hpp"
#include "core/philox.hpp"
#include "core/trace.hpp"

namespace lora_dist {
namespace {

class LoraBranch final : public AdapterBranch {
 public:
  LoraBranch(TrainableParams& params, size_t a_index, size_t b_index, uint32_t module, double scale,
             double dropout, at::ScalarType compute)
      : params_(params),
        a_index_(a_index),
        b_index_(b_index),
        module_(module),
        scale_(scale),
        dropout_(dropout),
        compute_(compute) {}

  void set_weight(double weight) { weight_ = weight; }

  void refresh() {
    a_RI_ = params_.view(a_index_).to(compute_);
    b_OR_ = params_.view(b_index_).to(compute_);
  }

  void forward(const at::Tensor& x_NI, at::Tensor& y_NO, const PassContext& pass) override {
    const trace::Span span("lora forward");
    const at::Tensor hidden_NR = ops::product(dropped(x_NI, pass), a_RI_);
    ops::add_product(y_NO, hidden_NR, b_OR_, scale());
  }

  // With s the scale, h = drop(x) A^T and g = s dy B:  dB = s dy^T h, dA = g^T drop(x), dx +=
  // drop(g A).
  void backward(const at::Tensor& x_NI, const at::Tensor& dy_NO, at::Tensor& dx_NI, bool need_dx,
                const PassContext& pass) override {
    const trace::Span span("lora backward");
    const at::Tensor x_dropped_NI = dropped(x_NI, pass);
    const at::Tensor hidden_NR = ops::product(x_dropped_NI, a_RI_);
    const at::Tensor g_NR = ops::product_transposed(dy_NO, b_OR_).mul_(scale());
    ops::add_outer_product(params_.gradient_view(b_index_), dy_NO, hidden_NR.mul(scale()));
    ops::add_outer_product(params_.gradient_view(a_index_), g_NR, x_dropped_NI);
    if (!need_dx) return;
    if (is_dropping(pass)) {
      dx_NI.add_(dropped(ops::product_transposed(g_NR, a_RI_), pass));
    } else {
      ops::add_product_transposed(dx_NI, g_NR, a_RI_);
    }
  }

  at::Tensor merged_delta() const override {
    return at::mm(params_.view(b_index_), params_.view(a_index_)).mul_(scale());
  }

 private:
  double scale() const { return scale_ * weight_; }
  bool is_dropping(const PassContext& pass) const { return pass.training && dropout_ > 0; }
  at::Tensor dropped(const at::Tensor& x_NI, const PassContext& pass) const {
    if (!is_dropping(pass)) return x_NI;
    return ops::dropout(x_NI, dropout_, {pass.seed, pass.step, pass.slot, module_});
  }

  TrainableParams& params_;
  size_t a_index_, b_index_;
  uint32_t module_;
  double scale_, dropout_, weight_ = 1;
  at::ScalarType compute_;
  at::Tensor a_RI_, b_OR_;  // in the dtype of the activations
};

class LoraAdapter final : public Adapter {
 public:
  explicit LoraAdapter(AdapterArgs args) {
    for (const std::string& target : args.targets) add_branch(args, target);
    params_.allocate(args.device);
  }

  TrainableParams& params() override { return params_; }

  void attach(double weight) override {
    for (Placed& placed : placed_) {
      placed.branch->set_weight(weight);
      placed.linear->attach(placed.branch.get());
    }
    refresh();
  }

  // A: kaiming_uniform(a = sqrt 5), which is U(-b, b) with b = 1 / sqrt(in_features). B: zero.
  void initialize(uint64_t seed) override {
    for (size_t module = 0; module < placed_.size(); ++module) {
      const TrainableParams::Entry& a = params_.entries()[2 * module];
      at::Tensor values = at::empty(a.shape, at::kFloat);
      float* out = values.data_ptr<float>();
      const float bound = 1.0f / std::sqrt(static_cast<float>(a.shape[1]));
      const PhiloxKey key = philox_key(seed);
      for (int64_t i = 0; i < values.numel(); ++i) {
        const PhiloxBlock draw = philox4x32(
            {static_cast<uint32_t>(i / 4), static_cast<uint32_t>(module), kInitStream, 0}, key);
        out[i] = (2 * philox_uniform(draw[i % 4]) - 1) * bound;
      }
      params_.view(2 * module).copy_(values);
      params_.view(2 * module + 1).zero_();
    }
    refresh();
  }

  void refresh() override {
    for (Placed& placed : placed_) placed.branch->refresh();
  }

 private:
  static constexpr uint32_t kInitStream =
      0x494E4954;  // keeps initialisation apart from dropout's counters
  struct Placed {
    Linear* linear;
    std::unique_ptr<LoraBranch> branch;
  };

  void add_branch(const AdapterArgs& args, const std::string& target) {
    const auto linear =
        std::find_if(args.linears.begin(), args.linears.end(),
                     [&](const Linear* candidate) { return candidate->name() == target; });
    LD_CHECK(linear != args.linears.end(), "a target that is no layer: " + target);
    const auto rank = static_cast<int64_t>(pattern_value(
        args.config.rank_pattern, target, static_cast<double>(args.config.lora_rank)));
    const double alpha = pattern_value(
        args.config.alpha_pattern, target,
        args.config.lora_alpha.value_or(2.0 * static_cast<double>(args.config.lora_rank)));
    const double divisor =
        args.config.use_rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
    const std::string prefix = "base_model.model." + target;
    const size_t a_index = params_.add(prefix + ".lora_A.weight", {rank, (*linear)->in_features()});
    const size_t b_index =
        params_.add(prefix + ".lora_B.weight", {(*linear)->out_features(), rank});
    placed_.push_back(
        {*linear, std::make_unique<LoraBranch>(
                      params_, a_index, b_index, static_cast<uint32_t>(placed_.size()),
                      alpha / divisor, args.config.lora_dropout, args.compute)});
  }

  TrainableParams params_;
  std::vector<Placed> placed_;
};

}  // namespace

std::unique_ptr<Adapter> make_lora_adapter(AdapterArgs args) {
  return std::make_unique<LoraAdapter>(std::move(args));
}

}  // namespace lora_dist
