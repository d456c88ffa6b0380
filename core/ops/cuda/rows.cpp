#include "core/ops/cuda/rows.hpp"

#include <array>
#include <atomic>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/base/error.hpp"

namespace lora_dist::ops::cuda {
namespace {

using kernels::Element;
using lora_dist::cuda::kSquaresBlock;

Element kernel_element(const at::Tensor& x) {
  LD_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16,
           "activations are fp32 or bf16");
  return x.scalar_type() == at::kFloat ? Element::fp32 : Element::bf16;
}

// The kernels know no strides but those of rows.
void require_whole(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors)
    LD_CHECK(tensor.is_contiguous(), "a row kernel needs contiguous tensors");
}

void require_whole_rows(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors)
    LD_CHECK(tensor.dim() == 2 && tensor.stride(1) == 1, "a row kernel needs contiguous rows");
}

// Of one dtype: `x` alone says which element the kernel reads.
void require_like(const at::Tensor& x, std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors)
    LD_CHECK(tensor.scalar_type() == x.scalar_type() && tensor.size(1) == x.size(1),
             "a row kernel needs rows of one dtype and width");
}

// Calls launch(stream) with the device of `x` as the current one; the launch belongs to it.
template <class Launch>
void queue(const char* name, const at::Tensor& x, const Launch& launch) {
  const c10::DeviceGuard guard(x.device());
  void* stream = nullptr;  // the host's stand-in for a GPU has none
  if (x.device().is_cuda())
    stream = c10::impl::VirtualGuardImpl(x.device().type()).getStream(x.device()).native_handle();
  const char* failure = launch(stream);
  TORCH_CHECK(failure == nullptr, "CUDA kernel ", name, " on ", x.device().str(), ": ", failure);
}

at::Tensor empty_doubles(at::IntArrayRef shape, const at::Tensor& beside) {
  return at::empty(shape, beside.options().dtype(at::kDouble));
}

}  // namespace

at::Tensor Rows::rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                          double eps, at::Tensor& inv_rms_N) const {
  require_whole({x_ND, weight_D});
  at::Tensor y_ND = at::empty_like(x_ND);
  inv_rms_N = at::empty({x_ND.size(0)}, x_ND.options().dtype(at::kFloat));
  queue("rms_norm", x_ND, [&](void* stream) {
    return kernels_.rms_norm(stream, kernel_element(x_ND), x_ND.const_data_ptr(),
                             weight_D.const_data_ptr<float>(), static_cast<float>(offset),
                             static_cast<float>(eps), y_ND.data_ptr(), inv_rms_N.data_ptr<float>(),
                             x_ND.size(0), x_ND.size(1));
  });
  return y_ND;
}

void Rows::rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                             const at::Tensor& inv_rms_N, const at::Tensor& dy_ND,
                             at::Tensor& dx_ND) const {
  const bool accumulate = dx_ND.defined();
  if (!accumulate) dx_ND = at::empty_like(x_ND);
  require_whole({x_ND, weight_D, inv_rms_N, dy_ND, dx_ND});
  require_like(x_ND, {dy_ND, dx_ND});
  queue("rms_norm_backward", x_ND, [&](void* stream) {
    return kernels_.rms_norm_backward(stream, kernel_element(x_ND), x_ND.const_data_ptr(),
                                      weight_D.const_data_ptr<float>(), static_cast<float>(offset),
                                      inv_rms_N.const_data_ptr<float>(), dy_ND.const_data_ptr(),
                                      dx_ND.data_ptr(), accumulate, x_ND.size(0), x_ND.size(1));
  });
}

void Rows::rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse) const {
  require_whole_rows({x_NF});
  require_whole({rotation.cos_TH, rotation.sin_TH});
  queue("rope", x_NF, [&](void* stream) {
    return kernels_.rope(stream, kernel_element(x_NF), x_NF.data_ptr(), x_NF.stride(0),
                         x_NF.size(1) / head_dim, head_dim, rotation.rotary,
                         rotation.cos_TH.const_data_ptr<float>(),
                         rotation.sin_TH.const_data_ptr<float>(), rotation.cos_TH.size(0),
                         inverse ? -1.0f : 1.0f, x_NF.size(0));
  });
}

at::Tensor Rows::gated(Activation activation, const at::Tensor& gate_NF,
                       const at::Tensor& up_NF) const {
  require_whole_rows({gate_NF, up_NF});
  require_like(gate_NF, {up_NF});
  at::Tensor y_NF = at::empty(gate_NF.sizes(), gate_NF.options());
  queue("gated", gate_NF, [&](void* stream) {
    return kernels_.gated(stream, kernel_element(gate_NF), activation, gate_NF.const_data_ptr(),
                          gate_NF.stride(0), up_NF.const_data_ptr(), up_NF.stride(0),
                          y_NF.data_ptr(), gate_NF.size(0), gate_NF.size(1));
  });
  return y_NF;
}

void Rows::gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                          const at::Tensor& dy_NF) const {
  require_whole_rows({gate_NF, up_NF});
  require_whole({dy_NF});
  require_like(gate_NF, {up_NF, dy_NF});
  queue("gated_backward", gate_NF, [&](void* stream) {
    return kernels_.gated_backward(stream, kernel_element(gate_NF), activation, gate_NF.data_ptr(),
                                   gate_NF.stride(0), up_NF.data_ptr(), up_NF.stride(0),
                                   dy_NF.const_data_ptr(), gate_NF.size(0), gate_NF.size(1));
  });
}

at::Tensor Rows::cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                               bool gradient) const {
  require_whole({logits_CV, labels_C});
  const at::Tensor losses_C = empty_doubles({logits_CV.size(0)}, logits_CV);
  queue("cross_entropy", logits_CV, [&](void* stream) {
    return kernels_.cross_entropy(stream, kernel_element(logits_CV), logits_CV.data_ptr(),
                                  labels_C.const_data_ptr<int64_t>(), losses_C.data_ptr<double>(),
                                  static_cast<float>(softcap), gradient, logits_CV.size(0),
                                  logits_CV.size(1));
  });
  return losses_C;
}

at::Tensor Rows::dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream) const {
  require_whole({x_NI});
  at::Tensor y_NI = at::empty_like(x_NI);
  queue("dropout", x_NI, [&](void* queue_of) {
    return kernels_.dropout(queue_of, kernel_element(x_NI), x_NI.const_data_ptr(), y_NI.data_ptr(),
                            static_cast<float>(p), stream, x_NI.size(0), x_NI.size(1));
  });
  return y_NI;
}

void Rows::adamw8bit(const at::Tensor& params, const at::Tensor& gradient,
                     const lora_dist::cuda::Moment8bit& first,
                     const lora_dist::cuda::Moment8bit& second,
                     const lora_dist::cuda::Adamw8bitStep& step) const {
  require_whole({params, gradient});
  queue("adamw8bit", params, [&](void* stream) {
    return kernels_.adamw8bit(stream, params.data_ptr<float>(), gradient.const_data_ptr<float>(),
                              first, second, step, params.numel());
  });
}

at::Tensor Rows::sum_of_squares(const at::Tensor& flat) const {
  require_whole({flat});
  const int64_t count = flat.numel();
  const at::Tensor partial = empty_doubles({(count + kSquaresBlock - 1) / kSquaresBlock}, flat);
  queue("sum_of_squares", flat, [&](void* stream) {
    return kernels_.sum_of_squares(stream, flat.const_data_ptr<float>(), partial.data_ptr<double>(),
                                   count);
  });
  return sum(partial);
}

at::Tensor Rows::sum(const at::Tensor& values) const {
  at::Tensor result = empty_doubles({}, values);
  queue("sum", values, [&](void* stream) {
    return kernels_.sum(stream, values.const_data_ptr<double>(), result.data_ptr<double>(),
                        values.numel());
  });
  return result;
}

#ifdef LORA_DIST_CUDA

int compute_capability(at::Device device) {
  static std::array<std::atomic<int>, 128> known{};  // by device; asked for again where 0
  if (!device.is_cuda()) return 0;
  std::atomic<int>& capability = known.at(static_cast<size_t>(device.index()));
  if (capability == 0) capability = lora_dist::cuda::row_kernels.compute_capability(device.index());
  return capability;
}

const Rows* rows_for(const at::Tensor& x) {
  static const Rows rows(lora_dist::cuda::row_kernels);
  return compute_capability(x.device()) >= 80 ? &rows : nullptr;
}

#else

int compute_capability(at::Device /*device*/) { return 0; }
const Rows* rows_for(const at::Tensor& /*x*/) { return nullptr; }

#endif

}  // namespace lora_dist::ops::cuda
