#include "core/models/layers/embedding.hpp"

#include "core/base/trace.hpp"

namespace lora_dist {

at::Tensor Embedding::forward(const at::Tensor& tokens_N, at::ScalarType dtype) const {
  const trace::Span span("embedding");
  at::Tensor rows_ND = weight_VD_.get().gather_rows(tokens_N, dtype);
  // The factor is rounded to the activations' dtype, as transformers does.
  if (scale_ != 1) rows_ND.mul_(at::scalar_tensor(scale_).to(dtype));
  return rows_ND;
}

}  // namespace lora_dist
