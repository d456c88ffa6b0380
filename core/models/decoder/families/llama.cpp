// LLaMA 1, 2, 3, 3.1, 3.2 and models that say "llama" (SmolLM2, TinyLlama, Yi).
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

std::unique_ptr<ModelOutline> llama_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(
      config, {.intermediate_size = 11008, .heads_divide_width = true, .max_positions = 2048});
  // attention_bias puts a bias on q, k, v and o alike.
  const bool attention_bias = config.flag("attention_bias", false);
  const bool mlp_bias = config.flag("mlp_bias", false);
  for (BlockSpec& block : spec.blocks) {
    block.attention.qkv_bias = block.attention.output_bias = attention_bias;
    block.mlp.bias = mlp_bias;
  }
  refuse_windows(spec, config);
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
