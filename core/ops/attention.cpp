#include "core/ops/attention.hpp"

#include "core/ops/blocked_attention.hpp"
#include "core/ops/composed.hpp"
#include "core/trace.hpp"

namespace lora_dist::ops {

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const trace::Span span("attention");
  if (q_BTNH.device().is_cpu()) return blocked::attention(q_BTNH, k_BSKH, v_BSKH, options);
  return composed::attention(q_BTNH, k_BSKH, v_BSKH, options);
}

AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const trace::Span span("attention backward");
  if (q_BTNH.device().is_cpu())
    return blocked::attention_backward(q_BTNH, k_BTKH, v_BTKH, forward, dout_BTNH, options);
  return composed::attention_backward(q_BTNH, k_BTKH, v_BTKH, dout_BTNH, options);
}

}  // namespace lora_dist::ops
