// LoRA: y = base(x) + scale * B(A(dropout(x))).
//
// Source  Hu et al. 2021, "LoRA", section 4.1; dropout, initialisation, scaling and names as PEFT
// has them. Shapes: N rows, I and O in and out features, R LoRA rank, S the
// sum of the ranks of a group.

#include "core/adapters/lora.hpp"

#include <algorithm>
#include <cmath>

#include "core/adapters/adapter.hpp"
#include "core/base/error.hpp"
#include "core/base/philox.hpp"
#include "core/base/trace.hpp"

namespace lora_dist {
namespace {

/// The adapted layers of one group. Without dropout they share the products with their A: one
/// matrix of all A's rows (S rows, the sum of the ranks), where layer by layer each would read x
/// again.
class LoraBranch final : public AdapterBranch {
 public:
  /// One adapted layer.
  struct Part {
    size_t layer;  // of the group
    size_t a_index, b_index;
    uint32_t module;
    int64_t rank;
    double scale;
    int64_t first = 0;  // its rows among those of all A
    at::Tensor bt_RO;   // B transposed, which products read faster; in the activations' dtype
  };

  LoraBranch(TrainableParams& params, double dropout, at::ScalarType compute)
      : params_(params), dropout_(dropout), compute_(compute) {}

  void add(Part part) {
    part.first = num_rows_;
    num_rows_ += part.rank;
    parts_.push_back(std::move(part));
  }

  const std::vector<Part>& parts() const { return parts_; }

  /// The copies stay where they are: recorded kernels read them there.
  void refresh() {
    if (!a_SI_.defined()) make_copies();
    for (const Part& part : parts_) {
      rows_of(part, a_SI_).copy_(params_.view(part.a_index));
      part.bt_RO.copy_(params_.view(part.b_index).t());
    }
  }

  void forward(const BranchInput& in, std::vector<at::Tensor>& y) override {
    const trace::Span span("lora forward");
    const bool drops = is_dropping(in.pass);
    const at::Tensor hidden_NS = drops ? at::Tensor() : ops::product(in.x_NI, a_SI_);
    for (const Part& part : parts_) {
      const at::Tensor hidden_NR =
          drops ? ops::product(in.x_NI, rows_of(part, a_SI_), dropout_of(part, in))
                : columns_of(part, hidden_NS);
      ops::add_product(y[part.layer], hidden_NR, part.bt_RO.t(), part.scale * in.weight);
    }
  }

  // With s the scale, h = drop(x) A^T and g = s dy B:  dB = s dy^T h, dA = g^T drop(x), dx +=
  // drop(g A).
  void backward(const BranchInput& in, const std::vector<at::Tensor>& dy, at::Tensor& dx_NI,
                bool need_dx) override {
    const trace::Span span("lora backward");
    is_dropping(in.pass) ? backward_dropping(in, dy, dx_NI, need_dx)
                         : backward_shared(in, dy, dx_NI, need_dx);
  }

  int64_t end_of_gradients() const override {
    int64_t end = 0;
    for (const Part& part : parts_) {
      end = std::max(
          {end, params_.entries()[part.a_index].end(), params_.entries()[part.b_index].end()});
    }
    return end;
  }

  bool sits_on(size_t l) const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [&](const Part& part) { return part.layer == l; });
  }

  void merge_weight(size_t l, at::Tensor weight_OI, double weight) const override {
    for (const Part& part : parts_) {
      if (part.layer == l)
        weight_OI.add_(at::mm(params_.view(part.b_index), params_.view(part.a_index)),
                       part.scale * weight);
    }
  }

 private:
  void make_copies() {
    const at::TensorOptions options = params_.flat().options().dtype(compute_);
    a_SI_ = at::empty({num_rows_, params_.entries()[parts_.front().a_index].shape[1]}, options);
    for (Part& part : parts_)
      part.bt_RO = at::empty({part.rank, params_.entries()[part.b_index].shape[0]}, options);
  }

  static at::Tensor columns_of(const Part& part, const at::Tensor& x_NS) {
    return x_NS.narrow(1, part.first, part.rank);
  }
  static at::Tensor rows_of(const Part& part, const at::Tensor& x_SI) {
    return x_SI.narrow(0, part.first, part.rank);
  }
  bool is_dropping(const PassContext& pass) const { return pass.training && dropout_ > 0; }
  /// Every module draws a mask of its own, as in PEFT.
  ops::Dropout dropout_of(const Part& part, const BranchInput& in) const {
    return {in.x_NI, dropout_, in.pass.dropout_stream(part.module)};
  }

  void backward_shared(const BranchInput& in, const std::vector<at::Tensor>& dy, at::Tensor& dx_NI,
                       bool need_dx) {
    const at::Tensor hidden_NS = ops::product(in.x_NI, a_SI_), g_NS = at::empty_like(hidden_NS);
    for (const Part& part : parts_) {
      columns_of(part, g_NS)
          .copy_(gradient_of_hidden(part, dy[part.layer], columns_of(part, hidden_NS), in.weight));
    }
    add_gradient_of_a(g_NS, in.x_NI);
    if (need_dx) ops::add_product_transposed(dx_NI, g_NS, a_SI_);
  }

  void backward_dropping(const BranchInput& in, const std::vector<at::Tensor>& dy,
                         at::Tensor& dx_NI, bool need_dx) {
    for (const Part& part : parts_) {
      const ops::Dropout dropout = dropout_of(part, in);
      const at::Tensor a_RI = rows_of(part, a_SI_);
      const at::Tensor g_NR =
          gradient_of_hidden(part, dy[part.layer], ops::product(in.x_NI, a_RI, dropout), in.weight);
      ops::add_outer_product(params_.gradient_view(part.a_index), g_NR, in.x_NI, dropout);
      if (need_dx) ops::add_product_transposed(dx_NI, g_NR, a_RI, dropout);
    }
  }

  /// g, and the gradient of B beside it.
  at::Tensor gradient_of_hidden(const Part& part, const at::Tensor& dy_NO,
                                const at::Tensor& hidden_NR, double weight) {
    const double scale = part.scale * weight;
    ops::add_outer_product(params_.gradient_view(part.b_index), dy_NO, hidden_NR.mul(scale));
    return ops::product(dy_NO, part.bt_RO).mul_(scale);
  }

  void add_gradient_of_a(const at::Tensor& g_NS, const at::Tensor& x_NI) {
    if (parts_.size() == 1)
      return ops::add_outer_product(params_.gradient_view(parts_.front().a_index), g_NS, x_NI);
    const at::Tensor gradient_SI = at::zeros(a_SI_.sizes(), a_SI_.options().dtype(at::kFloat));
    ops::add_outer_product(gradient_SI, g_NS, x_NI);
    for (const Part& part : parts_)
      params_.gradient_view(part.a_index).add_(rows_of(part, gradient_SI));
  }

  TrainableParams& params_;
  double dropout_;
  at::ScalarType compute_;
  std::vector<Part> parts_;
  int64_t num_rows_ = 0;
  at::Tensor a_SI_;  // in the dtype of the activations
};

class LoraAdapter final : public Adapter {
 public:
  explicit LoraAdapter(const AdapterArgs& args) {
    for (const std::string& target : args.targets) add_module(args, target);
    params_.allocate(args.device);
  }

  TrainableParams& params() override { return params_; }

  void attach(double weight, int id) override {
    for (auto& [group, branch] : branches_) group->attach(id, branch.get(), weight);
    refresh();
  }

  // A: kaiming_uniform(a = sqrt 5), which is U(-b, b) with b = 1 / sqrt(in_features). B: zero.
  void initialize(uint64_t seed) override {
    for (const auto& [group, branch] : branches_) {
      for (const LoraBranch::Part& part : branch->parts()) {
        params_.view(part.a_index).copy_(fresh_a(part, philox_key(seed)));
        params_.view(part.b_index).zero_();
      }
    }
    refresh();
  }

  void refresh() override {
    for (auto& [group, branch] : branches_) branch->refresh();
  }

 private:
  static constexpr uint32_t kInitStream =
      0x494E4954;  // keeps initialisation apart from dropout's counters

  at::Tensor fresh_a(const LoraBranch::Part& part, const PhiloxKey& key) const {
    const TrainableParams::Entry& a = params_.entries()[part.a_index];
    at::Tensor values_RI = at::empty(a.shape, at::kFloat);
    float* out = values_RI.data_ptr<float>();
    const float bound = 1.0f / std::sqrt(static_cast<float>(a.shape[1]));
    for (int64_t i = 0; i < values_RI.numel(); ++i) {
      const PhiloxBlock draw =
          philox4x32({static_cast<uint32_t>(i / 4), part.module, kInitStream, 0}, key);
      out[i] = (2 * philox_uniform(draw[i % 4]) - 1) * bound;
    }
    return values_RI;
  }

  void add_module(const AdapterArgs& args, const std::string& target) {
    const auto [group, layer] = find_layer(args.groups, target);
    const Linear& linear = group->linears()[layer];
    const int64_t rank = lora_rank_of(args.config, target);
    const size_t a_index = params_.add({target, "lora_A"}, {rank, linear.in_features()});
    const size_t b_index = params_.add({target, "lora_B"}, {linear.out_features(), rank},
                                       args.config.loraplus_lr_ratio);
    branch_of(group, args)
        .add({.layer = layer,
              .a_index = a_index,
              .b_index = b_index,
              .module = static_cast<uint32_t>(num_modules_++),
              .rank = rank,
              .scale = lora_scale_of(args.config, target)});
  }

  static std::pair<LinearGroup*, size_t> find_layer(const std::vector<LinearGroup*>& groups,
                                                    const std::string& target) {
    for (LinearGroup* group : groups) {
      for (size_t l = 0; l < group->linears().size(); ++l) {
        if (group->linears()[l].name() == target) return {group, l};
      }
    }
    LD_CHECK(false, "a target that is no layer: " + target);
    return {};
  }

  LoraBranch& branch_of(LinearGroup* group, const AdapterArgs& args) {
    const auto known = std::find_if(branches_.begin(), branches_.end(),
                                    [&](const auto& placed) { return placed.first == group; });
    if (known != branches_.end()) return *known->second;
    branches_.emplace_back(
        group, std::make_unique<LoraBranch>(params_, args.config.lora_dropout, args.compute));
    return *branches_.back().second;
  }

  TrainableParams params_;
  size_t num_modules_ = 0;
  std::vector<std::pair<LinearGroup*, std::unique_ptr<LoraBranch>>> branches_;
};

}  // namespace

int64_t lora_rank_of(const AdapterConfig& config, const std::string& module) {
  return static_cast<int64_t>(
      pattern_value(config.rank_pattern, module, static_cast<double>(config.lora_rank)));
}

double lora_alpha_of(const AdapterConfig& config, const std::string& module) {
  return pattern_value(config.alpha_pattern, module,
                       config.lora_alpha.value_or(2.0 * static_cast<double>(config.lora_rank)));
}

double lora_scale_of(const AdapterConfig& config, const std::string& module) {
  const auto rank = static_cast<double>(lora_rank_of(config, module));
  return lora_alpha_of(config, module) / (config.use_rslora ? std::sqrt(rank) : rank);
}

namespace {

// A bit for each element of the input where products read through dropouts, else a copy.
int64_t dropped_bytes(const PassShape& shape, int64_t in_features) {
  const bool is_inside = !shape.on_gpu && shape.product_bytes == shape.compute_bytes;
  const int64_t input = shape.activation(in_features);
  return is_inside ? input / (8 * shape.compute_bytes) : input;
}

// x A^T and its gradient, and three of one layer's, for a product, a scaled and a transposed copy.
// Dropouts make each layer's input its own.
AdapterLoad lora_load(const AdapterConfig& config, const std::vector<std::string>& targets,
                      int64_t in_features, const PassShape& shape) {
  int64_t sum = 0, largest = 0;
  for (const std::string& target : targets) {
    const int64_t rank = lora_rank_of(config, target);
    sum += rank;
    largest = std::max(largest, rank);
  }
  const bool drops = config.lora_dropout > 0;
  const int64_t dropped = drops ? dropped_bytes(shape, in_features) : 0;
  return {.forward_bytes = dropped + shape.activation(sum),
          .backward_bytes = dropped + shape.activation(2 * (drops ? largest : sum) + 3 * largest)};
}

}  // namespace

AdapterKind lora_adapter() {
  return {.make = [](AdapterArgs args) -> std::unique_ptr<Adapter> {
            return std::make_unique<LoraAdapter>(args);
          },
          .parameters = [](const AdapterConfig& config, const std::string& target, int64_t out,
                           int64_t in) { return lora_rank_of(config, target) * (out + in); },
          .load = lora_load};
}

}  // namespace lora_dist
