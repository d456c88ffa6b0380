// Root mean square norm: y = x / sqrt(mean(x^2) + eps) * (offset + weight).
//
// Source  Zhang and Sennrich 2019, "Root Mean Square Layer Normalization". Shapes: N rows, D width.
// Keeps nothing between forward and backward: it is made again from x, in one read.
#pragma once

#include "core/ops/ops.hpp"

namespace lora_dist {

struct NormSpec {
  double eps = 1e-6;
  double offset = 0;  // Gemma multiplies by 1 + weight
  bool operator==(const NormSpec&) const = default;
};

class RmsNorm {
 public:
  RmsNorm() = default;  // none: a family without a norm at this place
  RmsNorm(at::Tensor weight_D, const NormSpec& spec)
      : weight_D_(std::move(weight_D)), spec_(spec) {}
  explicit operator bool() const { return weight_D_.defined(); }

  struct Output {
    at::Tensor y_ND, inv_rms_N;
  };
  Output forward(const at::Tensor& x_ND) const {
    Output output;
    output.y_ND = ops::rms_norm(x_ND, weight_D_, spec_.offset, spec_.eps, output.inv_rms_N);
    return output;
  }
  /// dx_ND += the gradient of x, given that of y; an undefined dx_ND is made.
  void backward(const at::Tensor& x_ND, const at::Tensor& inv_rms_N, const at::Tensor& dy_ND,
                at::Tensor& dx_ND) const {
    ops::rms_norm_backward(x_ND, weight_D_, spec_.offset, inv_rms_N, dy_ND, dx_ND);
  }
  /// The gradient of x alone.
  at::Tensor gradient(const at::Tensor& x_ND, const at::Tensor& dy_ND) const {
    at::Tensor dx_ND;
    backward(x_ND, forward(x_ND).inv_rms_N, dy_ND, dx_ND);
    return dx_ND;
  }

 private:
  at::Tensor weight_D_;  // fp32
  NormSpec spec_;
};

}  // namespace lora_dist
