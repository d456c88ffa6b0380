// The row operations composed of LibTorch operations: any device, and the reference that the
// kernels are tested against.
#pragma once

#include "core/ops/attention.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist::ops::composed {

at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset, double eps,
                    at::Tensor& inv_rms_N);
void rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                       const at::Tensor& inv_rms_N, const at::Tensor& dy_ND, at::Tensor& dx_ND);
void rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse);
at::Tensor gated(Activation activation, const at::Tensor& gate_NF, const at::Tensor& up_NF);
void gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                    const at::Tensor& dy_NF);
at::Tensor cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                         bool gradient);
/// The mask is drawn on the host, so that it is the same on every device.
at::Tensor dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream);

/// As ops::attention and ops::attention_backward; keeps no sums for the backward.
AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options);
AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options);

}  // namespace lora_dist::ops::composed
