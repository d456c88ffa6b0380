#include "core/models/layers/language_head.hpp"

#include <algorithm>

#include "core/base/trace.hpp"
#include "core/ops/pieces.hpp"

namespace lora_dist {
namespace {

// Size of a chunk of logits: larger products run at a better rate.
constexpr int64_t kLogitChunkBytes = 128 << 20;

}  // namespace

// Chunks of equal size: a short one at the end would run at a worse rate.
int64_t logit_chunk_rows(int64_t rows, int64_t bytes_per_row) {
  return ops::Pieces(rows, std::max<int64_t>(1, kLogitChunkBytes / bytes_per_row)).size;
}

int64_t head_buffer_bytes(const HeadSpec& spec, const PassShape& shape) {
  const int64_t row = spec.vocab_size * shape.compute_bytes;
  return logit_chunk_rows(shape.rows(), row) * row;
}

LayerCost head_cost(const HeadSpec& spec, const PassShape& shape, const Loss& loss) {
  const int64_t chunk = head_buffer_bytes(spec, shape);
  LayerCost cost;
  // The gradient of the hidden states; the chunk once more where it is multiplied otherwise.
  cost.backward_bytes =
      shape.activation(spec.width) + shape.converted(chunk) + loss.temporary_bytes(chunk);
  cost.forward_flops = cost.backward_flops =
      2.0 * static_cast<double>(spec.vocab_size) * static_cast<double>(spec.width);
  return cost;
}

HeadLosses LanguageHead::losses(const at::Tensor& hidden_ND, const LabelledRows& labelled,
                                const Loss& loss, at::Tensor* dhidden_ND) {
  const trace::Span span("head");
  if (dhidden_ND) *dhidden_ND = at::zeros_like(hidden_ND);
  HeadLosses result{at::zeros({}, hidden_ND.options().dtype(at::kDouble)),
                    at::empty({0}, hidden_ND.options().dtype(at::kDouble))};
  const int64_t count = labelled.rows_R.numel();
  if (count == 0) return result;
  const StoredWeight weight_VD = weight_VD_.get();
  const int64_t chunk =
      logit_chunk_rows(count, spec_.vocab_size * static_cast<int64_t>(hidden_ND.element_size()));
  if (!buffer_CV_.defined() || buffer_CV_.size(0) < chunk)
    buffer_CV_ = at::empty({chunk, spec_.vocab_size}, hidden_ND.options());
  std::vector<at::Tensor> losses;
  for (int64_t first = 0; first < count; first += chunk) {
    const int64_t size = std::min(chunk, count - first);
    const at::Tensor index = labelled.rows_R.narrow(0, first, size);
    const RowTargets targets = labelled.targets.narrow(first, size);
    const at::Tensor x_CD = hidden_ND.index_select(0, index);
    const RmsNorm::Output normed = norm_.forward(x_CD);
    const at::Tensor logits_CV = buffer_CV_.narrow(0, 0, size);
    ops::product_into(logits_CV, normed.y_ND, weight_VD);
    losses.push_back(loss.of_rows(logits_CV, targets, spec_.softcap, dhidden_ND != nullptr));
    result.sum.add_(ops::sum_in_order(
        targets.weights_C.defined() ? losses.back() * targets.weights_C : losses.back()));
    if (!dhidden_ND) continue;
    at::Tensor dx_CD;
    norm_.backward(x_CD, normed.inv_rms_N, ops::product_transposed(logits_CV, weight_VD), dx_CD);
    dhidden_ND->index_copy_(0, index, dx_CD);
  }
  result.rows_R = losses.size() == 1 ? losses.front() : at::cat(losses);
  return result;
}

at::Tensor LanguageHead::logits(const at::Tensor& hidden_ND) const {
  const at::Tensor normed_ND = norm_.forward(hidden_ND.contiguous()).y_ND;
  const at::Tensor logits_NV = ops::product(normed_ND, weight_VD_.get()).to(at::kFloat);
  return spec_.softcap > 0 ? spec_.softcap * at::tanh(logits_NV / spec_.softcap) : logits_NV;
}

}  // namespace lora_dist
