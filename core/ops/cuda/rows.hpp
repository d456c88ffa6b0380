// The row operations on tensors of a GPU: outputs are made, and the kernels launched on the
// caller's stream. Nothing here waits for the GPU.
//
// Errors  c10::Error that names the kernel which could not be launched, as LibTorch's own do.
#pragma once

#include "core/ops/cuda/row_kernels.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist::ops::cuda {

/// One set of kernels behind the operations of core/ops/ops.hpp; the tests have a set for the host.
class Rows {
 public:
  explicit Rows(const lora_dist::cuda::RowKernels& kernels) : kernels_(kernels) {}

  at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset, double eps,
                      at::Tensor& inv_rms_N) const;
  void rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                         const at::Tensor& inv_rms_N, const at::Tensor& dy_ND,
                         at::Tensor& dx_ND) const;
  void rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse) const;
  at::Tensor gated(Activation activation, const at::Tensor& gate_NF, const at::Tensor& up_NF) const;
  void gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                      const at::Tensor& dy_NF) const;
  at::Tensor cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                           bool gradient) const;
  at::Tensor dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream) const;
  /// One step of the optimizer over flat parameters, fp32.
  void adamw8bit(const at::Tensor& params, const at::Tensor& gradient,
                 const lora_dist::cuda::Moment8bit& first,
                 const lora_dist::cuda::Moment8bit& second,
                 const lora_dist::cuda::Adamw8bitStep& step) const;
  /// 0-dim, fp64, on the device of `flat`.
  at::Tensor sum_of_squares(const at::Tensor& flat) const;
  /// 0-dim, of fp64 values, in an order that their number decides.
  at::Tensor sum(const at::Tensor& values) const;

 private:
  const lora_dist::cuda::RowKernels& kernels_;
};

/// 10 * major + minor of a GPU; 0 in a build without CUDA.
int compute_capability(at::Device device);

/// The operations where `x` is: null on the host, in a build without CUDA, and on GPUs older than
/// Ampere (compute capability 8.0), for which no kernels are built.
const Rows* rows_for(const at::Tensor& x);

}  // namespace lora_dist::ops::cuda
