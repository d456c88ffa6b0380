// Phi-3: q, k, v come from one product, gate and up from another; a sliding window in the 4k
// models.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec phi3_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.fused_projections = true;
  read_windows_of_all_layers(spec, config, where);
  return spec;
}

}  // namespace lora_dist
