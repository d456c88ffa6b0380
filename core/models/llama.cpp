// LLaMA 1, 2, 3, 3.1, 3.2 and models that say "llama" (SmolLM2, TinyLlama, Yi).
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec llama_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  // Hugging Face's LlamaConfig: attention_bias puts a bias on q, k, v and o alike.
  spec.output_bias = spec.qkv_bias;
  return spec;
}

}  // namespace lora_dist
