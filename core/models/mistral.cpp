// Mistral 7B and its kin: grouped-query attention, a sliding window in v0.1.
#include <algorithm>

#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec mistral_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.qkv_bias = false;
  if (config.contains("sliding_window") && config["sliding_window"].is_number()) {
    std::fill(spec.windows.begin(), spec.windows.end(), config["sliding_window"].get<int64_t>());
  }
  return spec;
}

}  // namespace lora_dist
