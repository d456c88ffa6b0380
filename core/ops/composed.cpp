#include "core/ops/composed.hpp"

#include "core/base/error.hpp"

namespace lora_dist::ops::composed {
namespace {

at::Tensor wide(const at::Tensor& x) { return x.to(at::kFloat); }

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::silu:
      return at::silu(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return at::relu(x);
  }
  LD_CHECK(false, "an activation without a function");
}

at::Tensor activation_slope(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::silu: {
      const at::Tensor s = at::sigmoid(x);
      return s * (1 + x * (1 - s));
    }
    case Activation::gelu:
      return at::gelu_backward(at::ones_like(x), x);
    case Activation::gelu_tanh:
      return at::gelu_backward(at::ones_like(x), x, "tanh");
    case Activation::relu:
      return (x > 0).to(x.scalar_type());
  }
  LD_CHECK(false, "an activation without a slope");
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset, double eps,
                    at::Tensor& inv_rms_N) {
  const at::Tensor x = wide(x_ND);
  inv_rms_N = (x.square().mean(-1) + eps).rsqrt();
  return (x * inv_rms_N.unsqueeze(-1) * (weight_D + offset)).to(x_ND.scalar_type());
}

void rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                       const at::Tensor& inv_rms_N, const at::Tensor& dy_ND, at::Tensor& dx_ND) {
  const at::Tensor x = wide(x_ND);
  const at::Tensor g = wide(dy_ND) * (weight_D + offset);
  const at::Tensor s = inv_rms_N.unsqueeze(-1);
  const at::Tensor dx = g * s - x * s.pow(3) * (g * x).mean(-1, /*keepdim=*/true);
  if (dx_ND.defined()) {
    dx_ND.copy_(wide(dx_ND) + dx);
  } else {
    dx_ND = dx.to(x_ND.scalar_type());
  }
}

void rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse) {
  const int64_t tokens = rotation.cos_TH.size(0), half = rotation.rotary / 2;
  const int64_t batch = x_NF.size(0) / tokens;
  at::Tensor x = x_NF.unflatten(1, {-1, head_dim});  // (N, heads, H), a view
  at::Tensor low = x.narrow(-1, 0, half), high = x.narrow(-1, half, half);
  const at::Tensor cos = rotation.cos_TH.repeat({batch, 1}).unsqueeze(1);
  const at::Tensor sin = rotation.sin_TH.repeat({batch, 1}).unsqueeze(1) * (inverse ? -1.0 : 1.0);
  const at::Tensor a = wide(low).clone(), b = wide(high).clone();
  low.copy_(a * cos - b * sin);
  high.copy_(b * cos + a * sin);
}

at::Tensor gated(Activation activation, const at::Tensor& gate_NF, const at::Tensor& up_NF) {
  return (activate(activation, wide(gate_NF)) * wide(up_NF)).to(gate_NF.scalar_type());
}

void gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                    const at::Tensor& dy_NF) {
  const at::Tensor gate = wide(gate_NF).clone(), up = wide(up_NF).clone(), dy = wide(dy_NF);
  gate_NF.copy_(dy * up * activation_slope(activation, gate));
  up_NF.copy_(dy * activate(activation, gate));
}

at::Tensor cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                         bool gradient) {
  at::Tensor x = wide(logits_CV);
  if (softcap > 0) x = softcap * at::tanh(x / softcap);
  const at::Tensor log_sum = x.logsumexp(-1);
  const at::Tensor index = labels_C.unsqueeze(-1);
  const at::Tensor losses = log_sum - x.gather(-1, index).squeeze(-1);
  if (gradient) {
    at::Tensor dx = (x - log_sum.unsqueeze(-1)).exp();
    dx.scatter_add_(-1, index, at::full_like(index, -1, at::kFloat));
    if (softcap > 0) dx.mul_(1 - (x / softcap).square());
    logits_CV.copy_(dx);
  }
  return losses.to(at::kDouble);
}

at::Tensor dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream) {
  const at::Tensor ones_NI = at::ones(x_NI.sizes(), at::kFloat);
  return x_NI * ops::dropout(ones_NI, p, stream).to(x_NI.device(), x_NI.scalar_type());
}

}  // namespace lora_dist::ops::composed
