// Qwen3 (dense): q and k are normalised per head, head_dim is its own number.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

void read_qwen_windows(const ConfigFields& config, DecoderSpec& spec);

DecoderSpec qwen3_spec(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.intermediate_size = 22016,
                                               .vocab_size = 151936,
                                               .num_kv_heads = 32,
                                               .head_dim = 128,
                                               .max_positions = 32768});
  spec.query_key_norm = true;
  spec.qkv_bias = spec.output_bias = config.flag("attention_bias", false);
  read_qwen_windows(config, spec);
  return spec;
}

}  // namespace lora_dist
