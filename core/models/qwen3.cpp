// Qwen3 (dense): q and k are normalised per head, head_dim is its own number, no biases.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

void read_qwen_windows(const nlohmann::ordered_json& config, const std::string& where,
                       DecoderSpec& spec);

DecoderSpec qwen3_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.query_key_norm = true;
  spec.output_bias = spec.qkv_bias;
  read_qwen_windows(config, where, spec);
  return spec;
}

}  // namespace lora_dist
