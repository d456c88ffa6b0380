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

bool have_same_values(WeightSource& weights, size_t a, size_t b) {
  const WeightInfo &info_a = weights.weights()[a], &info_b = weights.weights()[b];
  if (info_a.shape != info_b.shape || info_a.shape.size() != 2) return false;
  const StoredWeight a_VD = weights.acquire(a), b_VD = weights.acquire(b);
  const at::ScalarType dtype =
      info_a.format == info_b.format ? info_a.format->plain.value_or(at::kFloat) : at::kFloat;
  bool same = true;
  for (int64_t first = 0; same && first < a_VD.size(0); first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, a_VD.size(0) - first);
    same = at::equal(a_VD.rows(first, rows, dtype), b_VD.rows(first, rows, dtype));
  }
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
