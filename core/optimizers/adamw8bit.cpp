// AdamW whose moments are stored in 8 bits: a quarter of the optimizer state of AdamW.
//
// Blocks of 256 neighbours in the flat buffer share one scale, the largest magnitude among them; a
// value is stored as the number of the nearest entry of a fixed table that is dense near zero. A
// step widens a block, applies AdamW in fp32 and stores the moments again. Every block is computed
// alone, so the result does not depend on the number of threads. Where our kernels run on a GPU
// (core/ops/cuda) the state lies there; parameters on other devices are updated on the host.
//
// Source  Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", sections 2 and 3;
// table and block size as bitsandbytes has them.
#include "core/optimizers/adamw8bit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "core/ops/kernels/kernels.hpp"
#include "core/optimizers/optimizer_state.hpp"
#include "core/optimizers/rates.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kBlock = cuda::kMomentBlock;
constexpr int kExponents = 7;  // decades of the table, from 1e-6 to 1

/// 256 ascending values in [-1, 1] or [0, 1]: in each decade the centres of equal intervals, twice
/// as many as in the decade below; 0 and 1 beside them.
class DynamicTable {
 public:
  explicit DynamicTable(bool is_signed) {
    size_t count = 0;
    for (int i = 0; i < kExponents; ++i) {
      const int intervals = 1 << (is_signed ? i : i + 1);
      const double decade = std::pow(10.0, i - (kExponents - 1));
      for (int k = 0; k < intervals; ++k) {
        const double centre = decade * (0.1 + 0.9 * (k + 0.5) / intervals);
        values_[count++] = static_cast<float>(centre);
        if (is_signed) values_[count++] = static_cast<float>(-centre);
      }
    }
    values_[count++] = 0;
    values_[count++] = 1;
    LD_CHECK(count == values_.size(), "the table has one value per byte");
    std::sort(values_.begin(), values_.end());
    for (size_t i = 0; i + 1 < values_.size(); ++i)
      middles_[i] = 0.5f * (values_[i] + values_[i + 1]);
  }

  const std::array<float, 256>& values() const { return values_; }
  const std::array<float, 255>& middles() const { return middles_; }
  float value(uint8_t code) const { return values_[code]; }
  uint8_t nearest(float x) const {
    return static_cast<uint8_t>(std::lower_bound(middles_.begin(), middles_.end(), x) -
                                middles_.begin());
  }

 private:
  std::array<float, 256> values_;
  std::array<float, 255> middles_;  // [i] between values i and i + 1
};

/// One moment of all parameters: codes (P) uint8 and the blocks' scales (P / 256) fp32.
struct Moment {
  Moment(int64_t count, bool is_signed, at::Device device)
      : table(is_signed),
        codes(at::full({count}, table.nearest(0), at::TensorOptions(device).dtype(at::kByte))),
        scales(at::zeros({(count + kBlock - 1) / kBlock}, at::TensorOptions(device))),
        table_there(at::cat({at::tensor(table.values()), at::tensor(table.middles())}).to(device)) {
  }

  cuda::Moment8bit for_kernels() const {
    const float* values = table_there.const_data_ptr<float>();
    return {codes.data_ptr<uint8_t>(), scales.data_ptr<float>(), values,
            values + table.values().size()};
  }

  void read(int64_t block, int64_t count, float* out) const {
    const uint8_t* code = codes.const_data_ptr<uint8_t>() + block * kBlock;
    const float scale = scales.const_data_ptr<float>()[block];
    for (int64_t i = 0; i < count; ++i) out[i] = table.value(code[i]) * scale;
  }
  void write(int64_t block, int64_t count, const float* in) {
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(in[i]));
    scales.data_ptr<float>()[block] = largest;
    const float inverse = largest > 0 ? 1 / largest : 0;
    uint8_t* code = codes.data_ptr<uint8_t>() + block * kBlock;
    for (int64_t i = 0; i < count; ++i) code[i] = table.nearest(in[i] * inverse);
  }

  const DynamicTable table;
  at::Tensor codes, scales;
  at::Tensor table_there;  // values, then middles
};

class AdamW8bit final : public Optimizer {
 public:
  AdamW8bit(OptimizerArgs args, const ops::cuda::Rows* rows)
      : params_(args.params),
        config_(args.config),
        shares_(shares_by_rate(args.groups, params_.numel())),
        rows_(rows),
        exp_avg_(params_.numel(), /*is_signed=*/true, rows ? params_.device() : at::kCPU),
        exp_avg_sq_(params_.numel(), /*is_signed=*/false, exp_avg_.codes.device()),
        num_updates_(at::zeros({}, at::kFloat)) {}

  void step(const at::Tensor& gradient, double learning_rate) override {
    const trace::Span span("optimizer");
    num_updates_.add_(1);
    if (shares_.size() == 1) return update_all(gradient, learning_rate * shares_.front().factor);
    // A block holds parameters of several rates. What its moments become depends on none of them,
    // so each rate takes the step from where all were and keeps its own parameters.
    const std::vector<at::Tensor> state = {params_, exp_avg_.codes, exp_avg_.scales,
                                           exp_avg_sq_.codes, exp_avg_sq_.scales};
    std::vector<at::Tensor> before;
    for (const at::Tensor& tensor : state) before.push_back(tensor.clone());
    const at::Tensor result = at::empty_like(params_);
    for (const RateShare& share : shares_) {
      for (size_t i = 0; i < state.size(); ++i) state[i].copy_(before[i]);
      update_all(gradient, learning_rate * share.factor);
      for (const auto& [first, end] : share.ranges)
        result.narrow(0, first, end - first).copy_(params_.narrow(0, first, end - first));
    }
    params_.copy_(result);
  }

  NamedTensors state() const override {
    return {{"exp_avg", exp_avg_.codes.to(at::kCPU).clone()},
            {"exp_avg_scales", exp_avg_.scales.to(at::kCPU).clone()},
            {"exp_avg_sq", exp_avg_sq_.codes.to(at::kCPU).clone()},
            {"exp_avg_sq_scales", exp_avg_sq_.scales.to(at::kCPU).clone()},
            {"step", num_updates_.clone()}};
  }

  void restore(const NamedTensors& state, const std::string& where) override {
    restore_tensors(state,
                    {{"exp_avg", exp_avg_.codes},
                     {"exp_avg_scales", exp_avg_.scales},
                     {"exp_avg_sq", exp_avg_sq_.codes},
                     {"exp_avg_sq_scales", exp_avg_sq_.scales},
                     {"step", num_updates_}},
                    where);
  }

 private:
  void update_all(const at::Tensor& gradient, double learning_rate) {
    const cuda::Adamw8bitStep update = scalars(config_, learning_rate, num_updates_.item<float>());
    if (rows_)
      return rows_->adamw8bit(params_, gradient, exp_avg_.for_kernels(), exp_avg_sq_.for_kernels(),
                              update);
    const at::Tensor host_params = params_.to(at::kCPU), host_gradient = gradient.to(at::kCPU);
    const int64_t num_blocks = exp_avg_.scales.numel();
    kernels::parallel_rows(num_blocks, /*grain=*/64, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block)
        update_block(block, host_params, host_gradient, update);
    });
    if (!params_.device().is_cpu()) params_.copy_(host_params);
  }

  static cuda::Adamw8bitStep scalars(const StepsConfig& config, double learning_rate,
                                     double steps) {
    return {.beta1 = static_cast<float>(config.adam_beta1),
            .beta2 = static_cast<float>(config.adam_beta2),
            .rate = static_cast<float>(learning_rate / (1 - std::pow(config.adam_beta1, steps))),
            .root = static_cast<float>(std::sqrt(1 - std::pow(config.adam_beta2, steps))),
            .decay = static_cast<float>(1 - learning_rate * config.weight_decay),
            .epsilon = static_cast<float>(config.adam_epsilon)};
  }

  void update_block(int64_t block, const at::Tensor& params, const at::Tensor& gradient,
                    const cuda::Adamw8bitStep& update) {
    const int64_t begin = block * kBlock, count = std::min(kBlock, params.numel() - begin);
    std::array<float, kBlock> m, v;
    exp_avg_.read(block, count, m.data());
    exp_avg_sq_.read(block, count, v.data());
    float* p = params.data_ptr<float>() + begin;
    const float* g = gradient.const_data_ptr<float>() + begin;
    for (int64_t i = 0; i < count; ++i) {
      m[i] = update.beta1 * m[i] + (1 - update.beta1) * g[i];
      v[i] = update.beta2 * v[i] + (1 - update.beta2) * g[i] * g[i];
      p[i] = update.decay * p[i] -
             update.rate * m[i] / (std::sqrt(v[i]) / update.root + update.epsilon);
    }
    exp_avg_.write(block, count, m.data());
    exp_avg_sq_.write(block, count, v.data());
  }

  at::Tensor params_;
  StepsConfig config_;
  std::vector<RateShare> shares_;
  const ops::cuda::Rows* rows_;  // null: on the host
  Moment exp_avg_, exp_avg_sq_;
  at::Tensor num_updates_;  // scalar
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw8bit(OptimizerArgs args, const ops::cuda::Rows* rows) {
  return std::make_unique<AdamW8bit>(std::move(args), rows);
}

OptimizerKind adamw8bit_optimizer() {
  return {.make =
              [](OptimizerArgs args) {
                const ops::cuda::Rows* rows = ops::cuda::rows_for(args.params);
                return make_adamw8bit(std::move(args), rows);
              },
          .state_bytes_per_parameter = 2,
          .help = "the same with moments of 8 bits"};
}

}  // namespace lora_dist
