// Qwen3 (dense): q and k are normalised per head, head_dim is its own number.
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

void read_qwen_windows(const ConfigFields& config, DecoderSpec& spec);

std::unique_ptr<ModelOutline> qwen3_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.intermediate_size = 22016,
                                               .vocab_size = 151936,
                                               .num_kv_heads = 32,
                                               .head_dim = 128,
                                               .max_positions = 32768});
  const bool attention_bias = config.flag("attention_bias", false);
  for (BlockSpec& block : spec.blocks) {
    block.attention.qkv_bias = block.attention.output_bias = attention_bias;
    block.attention.query_key_norm = true;
  }
  read_qwen_windows(config, spec);
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
