// Products with frozen weights, in the number format that this machine multiplies fast.
//
// Weights stay as they are stored (mapped from the file). Where they differ from what the product
// needs, they are converted into one buffer per thread: for a micro-batch of a few hundred tokens
// the conversion is a percent of the product, and a converted copy of the whole base would cost
// twice the memory of a bf16 file.

#include "core/ops/ops.hpp"
#include "core/trace.hpp"

namespace lora_dist::ops {
namespace {

at::ScalarType product_dtype(const at::Tensor& x) {
  return ops::product_dtype(x.scalar_type(), x.device());
}

/// `weight` in `dtype`, in `buffer` where it has to be converted.
at::Tensor converted_into(at::Tensor& buffer, const at::Tensor& weight, at::ScalarType dtype) {
  if (weight.scalar_type() == dtype) return weight;
  const trace::Span span("widen weights");
  if (!buffer.defined() || buffer.numel() < weight.numel() || buffer.scalar_type() != dtype ||
      buffer.device() != weight.device()) {
    buffer = at::empty({weight.numel()}, weight.options().dtype(dtype));
  }
  at::Tensor target = buffer.narrow(0, 0, weight.numel()).view(weight.sizes());
  target.copy_(weight);
  return target;
}

at::Tensor converted(const at::Tensor& weight, at::ScalarType dtype) {
  thread_local at::Tensor buffer;
  return converted_into(buffer, weight, dtype);
}

}  // namespace

bool has_fast_bf16() {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("avx512bf16") != 0;
  return fast;
#else
  return false;
#endif
}

at::ScalarType product_dtype(at::ScalarType compute, at::Device device) {
  return device.is_cpu() && compute == at::kBFloat16 && !has_fast_bf16() ? at::kFloat : compute;
}

at::Tensor for_products(const at::Tensor& weight, at::ScalarType compute, at::Tensor& buffer) {
  return converted_into(buffer, weight, product_dtype(compute, weight.device()));
}

at::Tensor product(const at::Tensor& x_NI, const at::Tensor& weight_OI) {
  const at::ScalarType dtype = product_dtype(x_NI);
  return at::mm(x_NI.to(dtype), converted(weight_OI, dtype).t()).to(x_NI.scalar_type());
}

at::Tensor product_transposed(const at::Tensor& dy_NO, const at::Tensor& weight_OI) {
  const at::ScalarType dtype = product_dtype(dy_NO);
  return at::mm(dy_NO.to(dtype), converted(weight_OI, dtype)).to(dy_NO.scalar_type());
}

void product_into(at::Tensor y_NO, const at::Tensor& x_NI, const at::Tensor& weight_OI) {
  if (product_dtype(x_NI) == x_NI.scalar_type()) {
    at::mm_out(y_NO, x_NI, converted(weight_OI, x_NI.scalar_type()).t());
  } else {
    const at::ScalarType dtype = product_dtype(x_NI);
    y_NO.copy_(at::mm(x_NI.to(dtype), converted(weight_OI, dtype).t()));
  }
}

void add_product_transposed(at::Tensor& dx_NI, const at::Tensor& dy_NO,
                            const at::Tensor& weight_OI) {
  if (!dx_NI.defined()) {
    dx_NI = product_transposed(dy_NO, weight_OI);
  } else if (product_dtype(dy_NO) == dy_NO.scalar_type()) {
    dx_NI.addmm_(dy_NO, converted(weight_OI, dy_NO.scalar_type()));
  } else {
    dx_NI.add_(product_transposed(dy_NO, weight_OI));
  }
}

void add_product(at::Tensor& y_NO, const at::Tensor& x_NI, const at::Tensor& weight_OI,
                 double scale) {
  if (product_dtype(x_NI) == x_NI.scalar_type()) {
    y_NO.addmm_(x_NI, converted(weight_OI, x_NI.scalar_type()).t(), /*beta=*/1, /*alpha=*/scale);
  } else {
    y_NO.add_(product(x_NI, weight_OI), scale);
  }
}

void add_outer_product(at::Tensor gradient_OI, const at::Tensor& dy_NO, const at::Tensor& x_NI) {
  const at::ScalarType dtype = product_dtype(x_NI);
  if (dtype == at::kFloat) {
    gradient_OI.addmm_(dy_NO.to(dtype).t(), x_NI.to(dtype));
  } else {
    gradient_OI.add_(at::mm(dy_NO.t(), x_NI));
  }
}

}  // namespace lora_dist::ops
