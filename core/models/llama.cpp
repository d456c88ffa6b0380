// LLaMA 1, 2, 3, 3.1, 3.2 and models that say "llama" (SmolLM2, TinyLlama, Yi).
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec llama_spec(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(
      config, {.intermediate_size = 11008, .heads_divide_width = true, .max_positions = 2048});
  // attention_bias puts a bias on q, k, v and o alike.
  spec.qkv_bias = spec.output_bias = config.flag("attention_bias", false);
  spec.mlp_bias = config.flag("mlp_bias", false);
  refuse_windows(spec, config);
  return spec;
}

}  // namespace lora_dist
