#include "core/models/decoder/generation.hpp"

#include <algorithm>
#include <numeric>

#include "core/base/philox.hpp"

namespace lora_dist {
namespace {

int64_t sample(const at::Tensor& logits_V, const GenerationOptions& options, uint32_t position) {
  if (options.temperature <= 0) return logits_V.argmax().item<int64_t>();
  const auto [sorted, order] =
      at::softmax(logits_V / options.temperature, 0).sort(/*dim=*/0, /*descending=*/true);
  const PhiloxBlock draw = philox4x32({position, 0, 0, 0}, philox_key(options.seed));
  const float* probabilities = sorted.const_data_ptr<float>();
  const int64_t most = options.top_k > 0 ? std::min(options.top_k, sorted.numel()) : sorted.numel();
  double mass = 1;  // with top_k, top_p is a share of what that leaves, as in transformers
  if (options.top_k > 0) mass = std::accumulate(probabilities, probabilities + most, 0.0);
  // The nucleus: the fewest tokens whose probabilities reach top_p.
  double kept = 0;
  int64_t count = 0;
  while (count < most && (count == 0 || kept < options.top_p * mass))
    kept += probabilities[count++];
  double left = philox_uniform(draw[0]) * kept;
  int64_t chosen = 0;
  while (chosen + 1 < count && left >= probabilities[chosen]) left -= probabilities[chosen++];
  return order[chosen].item<int64_t>();
}

}  // namespace

Generation generate(Decoder& model, const std::vector<int64_t>& prompt,
                    const GenerationOptions& options,
                    const std::function<void(int64_t)>& on_token) {
  Generation result{{}, "length"};
  KvCache cache = model.make_cache();
  std::vector<int64_t> next = prompt;
  while (static_cast<int64_t>(result.ids.size()) < options.max_new_tokens) {
    if (model.outgrows(cache, static_cast<int64_t>(next.size()))) {
      cache = model.make_cache();
      next = prompt;
      next.insert(next.end(), result.ids.begin(), result.ids.end());
    }
    const at::Tensor logits_V =
        model.logits(next, &cache, /*last_only=*/true).squeeze(0).to(at::kCPU);
    const int64_t token = sample(logits_V, options, static_cast<uint32_t>(result.ids.size()));
    result.ids.push_back(token);
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), token) !=
        options.stop_ids.end()) {
      result.finish_reason = "stop";
      break;
    }
    if (on_token) on_token(token);
    next = {token};
  }
  return result;
}

}  // namespace lora_dist
