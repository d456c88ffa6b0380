// Gemma 1: embeddings scaled by sqrt(hidden_size), norms multiply by 1 + weight, GELU gate, tied
// head.
#include <cmath>

#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec gemma_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.hidden_size));
  spec.norm_offset = 1;
  spec.activation = kernels::Activation::gelu_tanh;
  spec.tied_embeddings = config.value("tie_word_embeddings", true);
  spec.output_bias = spec.qkv_bias;
  return spec;
}

}  // namespace lora_dist
