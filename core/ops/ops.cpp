#include "core/ops/ops.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "core/ops/composed.hpp"
#include "core/ops/cuda/rows.hpp"

namespace lora_dist::ops {
namespace {

using kernels::Element;
using kernels::parallel_rows;
using kernels::table;

// Rows of about 32 k values each make a task worth a thread.
int64_t grain_for(int64_t width) { return std::max<int64_t>(1, 32768 / width); }

bool is_cpu(const at::Tensor& x) { return x.device().is_cpu(); }

}  // namespace

Element element_of(const at::Tensor& x) {
  LD_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16,
           "activations are fp32 or bf16");
  return x.scalar_type() == at::kFloat ? Element::fp32 : Element::bf16;
}

at::Tensor rms_norm(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset, double eps,
                    at::Tensor& inv_rms_N) {
  const trace::Span span("norm");
  if (const auto* gpu = cuda::rows_for(x_ND))
    return gpu->rms_norm(x_ND, weight_D, offset, eps, inv_rms_N);
  if (!is_cpu(x_ND)) return composed::rms_norm(x_ND, weight_D, offset, eps, inv_rms_N);
  const int64_t rows = x_ND.size(0), width = x_ND.size(1);
  const Element element = element_of(x_ND);
  at::Tensor y_ND = at::empty_like(x_ND);
  inv_rms_N = at::empty({rows}, at::kFloat);
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().rms_norm(element, x_ND.const_data_ptr(), weight_D.const_data_ptr<float>(),
                     static_cast<float>(offset), static_cast<float>(eps), y_ND.data_ptr(),
                     inv_rms_N.data_ptr<float>(), first, last, width);
  });
  return y_ND;
}

void rms_norm_backward(const at::Tensor& x_ND, const at::Tensor& weight_D, double offset,
                       const at::Tensor& inv_rms_N, const at::Tensor& dy_ND, at::Tensor& dx_ND) {
  const trace::Span span("norm backward");
  if (const auto* gpu = cuda::rows_for(x_ND))
    return gpu->rms_norm_backward(x_ND, weight_D, offset, inv_rms_N, dy_ND, dx_ND);
  if (!is_cpu(x_ND))
    return composed::rms_norm_backward(x_ND, weight_D, offset, inv_rms_N, dy_ND, dx_ND);
  const int64_t rows = x_ND.size(0), width = x_ND.size(1);
  const Element element = element_of(x_ND);
  const bool accumulate = dx_ND.defined();
  if (!accumulate) dx_ND = at::empty_like(x_ND);
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().rms_norm_backward(element, x_ND.const_data_ptr(), weight_D.const_data_ptr<float>(),
                              static_cast<float>(offset), inv_rms_N.const_data_ptr<float>(),
                              dy_ND.const_data_ptr(), dx_ND.data_ptr(), accumulate, first, last,
                              width);
  });
}

void rope(at::Tensor x_NF, int64_t head_dim, const Rotation& rotation, bool inverse) {
  const trace::Span span("rope");
  if (const auto* gpu = cuda::rows_for(x_NF)) return gpu->rope(x_NF, head_dim, rotation, inverse);
  if (!is_cpu(x_NF)) return composed::rope(x_NF, head_dim, rotation, inverse);
  const int64_t rows = x_NF.size(0), width = x_NF.size(1);
  const Element element = element_of(x_NF);
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().rope(element, x_NF.data_ptr(), x_NF.stride(0), width / head_dim, head_dim,
                 rotation.rotary, rotation.cos_TH.const_data_ptr<float>(),
                 rotation.sin_TH.const_data_ptr<float>(), rotation.cos_TH.size(0),
                 inverse ? -1.0f : 1.0f, first, last);
  });
}

at::Tensor gated(Activation activation, const at::Tensor& gate_NF, const at::Tensor& up_NF) {
  const trace::Span span("gate");
  if (const auto* gpu = cuda::rows_for(gate_NF)) return gpu->gated(activation, gate_NF, up_NF);
  if (!is_cpu(gate_NF)) return composed::gated(activation, gate_NF, up_NF);
  const int64_t rows = gate_NF.size(0), width = gate_NF.size(1);
  const Element element = element_of(gate_NF);
  at::Tensor y_NF = at::empty({rows, width}, gate_NF.options());
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().gated(element, activation, gate_NF.const_data_ptr(), gate_NF.stride(0),
                  up_NF.const_data_ptr(), up_NF.stride(0), y_NF.data_ptr(), first, last, width);
  });
  return y_NF;
}

void gated_backward(Activation activation, at::Tensor gate_NF, at::Tensor up_NF,
                    const at::Tensor& dy_NF) {
  const trace::Span span("gate backward");
  if (const auto* gpu = cuda::rows_for(gate_NF))
    return gpu->gated_backward(activation, gate_NF, up_NF, dy_NF);
  if (!is_cpu(gate_NF)) return composed::gated_backward(activation, gate_NF, up_NF, dy_NF);
  const int64_t rows = gate_NF.size(0), width = gate_NF.size(1);
  const Element element = element_of(gate_NF);
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().gated_backward(element, activation, gate_NF.data_ptr(), gate_NF.stride(0),
                           up_NF.data_ptr(), up_NF.stride(0), dy_NF.const_data_ptr(),
                           gate_NF.data_ptr(), gate_NF.stride(0), up_NF.data_ptr(), up_NF.stride(0),
                           first, last, width);
  });
}

at::Tensor cross_entropy(at::Tensor logits_CV, const at::Tensor& labels_C, double softcap,
                         bool gradient) {
  const trace::Span span("cross entropy");
  if (const auto* gpu = cuda::rows_for(logits_CV))
    return gpu->cross_entropy(logits_CV, labels_C, softcap, gradient);
  if (!is_cpu(logits_CV)) return composed::cross_entropy(logits_CV, labels_C, softcap, gradient);
  const int64_t rows = logits_CV.size(0), width = logits_CV.size(1);
  const Element element = element_of(logits_CV);
  const at::Tensor losses_C = at::empty({rows}, at::kDouble);
  double* losses = losses_C.mutable_data_ptr<double>();
  parallel_rows(rows, grain_for(width), [&](int64_t first, int64_t last) {
    table().cross_entropy(element, logits_CV.data_ptr(), labels_C.const_data_ptr<int64_t>(), losses,
                          static_cast<float>(softcap), gradient, first, last, width);
  });
  return losses_C;
}

at::Tensor sum_in_order(const at::Tensor& values) {
  const at::Tensor given = values.to(at::kDouble).contiguous();
  if (const auto* gpu = cuda::rows_for(given)) return gpu->sum(given);
  if (!is_cpu(given)) return given.sum();
  const double* value = given.const_data_ptr<double>();
  double sum = 0;
  for (int64_t i = 0; i < given.numel(); ++i) sum += value[i];
  return at::scalar_tensor(sum, at::kDouble);
}

at::Tensor dropout(const at::Tensor& x_NI, double p, const DropoutStream& stream) {
  const trace::Span span("dropout");
  if (const auto* gpu = cuda::rows_for(x_NI)) return gpu->dropout(x_NI, p, stream);
  if (!is_cpu(x_NI)) return composed::dropout(x_NI, p, stream);
  return Dropout(x_NI, p, stream).of(x_NI);
}

double sum_of_squares(const at::Tensor& flat) {
  if (const auto* gpu = cuda::rows_for(flat)) return gpu->sum_of_squares(flat).item<double>();
  const at::Tensor host = flat.to(at::kCPU).contiguous();
  constexpr int64_t kBlock = 1 << 14;
  const int64_t count = host.numel(), num_blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> partial(num_blocks);
  const float* values = host.const_data_ptr<float>();
  parallel_rows(num_blocks, 4, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      partial[block] =
          table().sum_of_squares(values + block * kBlock, std::min(kBlock, count - block * kBlock));
    }
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  return sum;
}

}  // namespace lora_dist::ops
