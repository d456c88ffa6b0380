// Phi-3: q, k, v come from one product, gate and up from another; a sliding window in the 4k
// models.
#include <algorithm>

#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec phi3_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.fused_projections = true;
  if (config.contains("sliding_window") && config["sliding_window"].is_number()) {
    std::fill(spec.windows.begin(), spec.windows.end(), config["sliding_window"].get<int64_t>());
  }
  return spec;
}

}  // namespace lora_dist
