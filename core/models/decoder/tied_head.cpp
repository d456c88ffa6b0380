#include "core/models/decoder/tied_head.hpp"

#include <algorithm>
#include <optional>

#include "core/base/log.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kRowsAtOnce = 4096;

std::optional<size_t> place_of(const WeightSource& weights, const std::string& name) {
  const auto& all = weights.weights();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const WeightInfo& weight) { return weight.name == name; });
  if (found == all.end()) return std::nullopt;
  return static_cast<size_t>(found - all.begin());
}

bool have_same_values(const at::Tensor& a_VD, const at::Tensor& b_VD) {
  if (a_VD.sizes() != b_VD.sizes() || a_VD.dim() != 2) return false;
  for (int64_t first = 0; first < a_VD.size(0); first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, a_VD.size(0) - first);
    const at::Tensor a = a_VD.narrow(0, first, rows), b = b_VD.narrow(0, first, rows);
    const bool same = a.scalar_type() == b.scalar_type()
                          ? at::equal(a, b)
                          : at::equal(a.to(at::kFloat), b.to(at::kFloat));
    if (!same) return false;
  }
  return true;
}

bool have_same_values(WeightSource& weights, size_t a, size_t b) {
  const bool same = have_same_values(weights.acquire(a), weights.acquire(b));
  weights.release(a);
  weights.release(b);
  return same;
}

}  // namespace

void settle_head(DecoderSpec& spec, WeightSource& weights) {
  if (!spec.tied_embeddings) return;
  const auto embedding = place_of(weights, kEmbeddingWeight), head = place_of(weights, kHeadWeight);
  if (!head) return;
  if (!embedding) {
    spec.embedding_weight = kHeadWeight;
    return;
  }
  if (have_same_values(weights, *embedding, *head)) return;
  spec.tied_embeddings = false;
  log_warning(
      fmt::format("{}: {} differs from {} although config.json ties them "
                  "(tie_word_embeddings); both are used, as transformers does",
                  weights.location(), kHeadWeight, kEmbeddingWeight));
}

}  // namespace lora_dist
