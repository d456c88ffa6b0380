#include "core/ops/attention.hpp"

#include <algorithm>
#include <bit>

#include "core/base/trace.hpp"
#include "core/ops/bf16_attention.hpp"
#include "core/ops/blocked_attention.hpp"
#include "core/ops/composed.hpp"
#include "core/ops/flash_attention.hpp"
#include "core/ops/ops.hpp"

namespace lora_dist::ops {

std::optional<SampleRows> sample_rows(const at::Tensor& starts_BT) {
  const at::Tensor starts = starts_BT.to(at::kLong).contiguous();
  const int64_t sequences = starts.size(0), tokens = starts.size(1);
  const int64_t* start = starts.const_data_ptr<int64_t>();
  std::vector<int32_t> first_rows;
  for (int64_t b = 0; b < sequences; ++b) {
    for (int64_t t = 0; t < tokens; ++t, ++start) {
      const bool begins = *start == t, goes_on = t > 0 && *start == start[-1];
      if (!begins && !goes_on) return std::nullopt;
      if (begins) first_rows.push_back(static_cast<int32_t>(b * tokens + t));
    }
  }
  first_rows.push_back(static_cast<int32_t>(sequences * tokens));
  int32_t longest = 0;
  for (size_t i = 1; i < first_rows.size(); ++i)
    longest = std::max(longest, first_rows[i] - first_rows[i - 1]);
  return SampleRows{at::tensor(first_rows, at::kInt), longest};
}

void add_empty_samples(SampleRows& samples) {
  const auto num_samples = static_cast<uint64_t>(samples.first_rows.numel() - 1);
  const auto wanted = static_cast<int64_t>(std::max<uint64_t>(8, std::bit_ceil(num_samples)));
  const at::Tensor end = samples.first_rows.slice(0, -1);
  samples.first_rows =
      at::cat({samples.first_rows, end.expand({wanted + 1 - samples.first_rows.numel()})});
}

AttentionResult attention(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                          const at::Tensor& v_BSKH, const AttentionOptions& options) {
  const trace::Span span("attention");
  if (multiplies_bf16_here(q_BTNH)) return bf16::attention(q_BTNH, k_BSKH, v_BSKH, options);
  if (q_BTNH.device().is_cpu()) return blocked::attention(q_BTNH, k_BSKH, v_BSKH, options);
  if (flash::runs(q_BTNH, k_BSKH, v_BSKH, options))
    return flash::attention(q_BTNH, k_BSKH, v_BSKH, options);
  return composed::attention(q_BTNH, k_BSKH, v_BSKH, options);
}

AttentionGradients attention_backward(const at::Tensor& q_BTNH, const at::Tensor& k_BTKH,
                                      const at::Tensor& v_BTKH, const AttentionResult& forward,
                                      const at::Tensor& dout_BTNH,
                                      const AttentionOptions& options) {
  const trace::Span span("attention backward");
  if (multiplies_bf16_here(q_BTNH))
    return bf16::attention_backward(q_BTNH, k_BTKH, v_BTKH, forward, dout_BTNH, options);
  if (q_BTNH.device().is_cpu())
    return blocked::attention_backward(q_BTNH, k_BTKH, v_BTKH, forward, dout_BTNH, options);
  if (forward.rng_state.defined())  // the forward's choice is the backward's
    return flash::attention_backward(q_BTNH, k_BTKH, v_BTKH, forward, dout_BTNH, options);
  return composed::attention_backward(q_BTNH, k_BTKH, v_BTKH, dout_BTNH, options);
}

}  // namespace lora_dist::ops
