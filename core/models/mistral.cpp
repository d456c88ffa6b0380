// Mistral 7B and its kin: grouped-query attention, a sliding window in v0.1.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec mistral_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.qkv_bias = false;
  read_windows_of_all_layers(spec, config, where);
  return spec;
}

}  // namespace lora_dist
