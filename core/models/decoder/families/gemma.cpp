// Gemma 1: embeddings scaled by sqrt(hidden_size), norms multiply by 1 + weight, GELU gate, tied
// head.
#include <cmath>

#include "core/base/log.hpp"
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

/// Gemma 2 has the same.
void make_gemma(const ConfigFields& config, DecoderSpec& spec) {
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.hidden_size));
  spec.norm.offset = 1;
  const bool attention_bias = config.flag("attention_bias", false);
  for (BlockSpec& block : spec.blocks) {
    block.attention.qkv_bias = block.attention.output_bias = attention_bias;
  }
}

std::unique_ptr<ModelOutline> gemma_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.hidden_size = 3072,
                                               .intermediate_size = 24576,
                                               .num_layers = 28,
                                               .vocab_size = 256000,
                                               .num_heads = 16,
                                               .num_kv_heads = 16,
                                               .null_kv_heads_are_all = false,
                                               .head_dim = 256,
                                               .max_positions = 8192,
                                               .tied_embeddings = true,
                                               .activation = "gelu_pytorch_tanh"});
  make_gemma(config, spec);
  refuse_windows(spec, config);
  if (config.has("hidden_activation") &&
      config.text("hidden_activation", "") != config.text("hidden_act", "gelu_pytorch_tanh"))
    log_warning(
        fmt::format("{}: hidden_act is used and hidden_activation is not, as transformers "
                    "5 does in 'gemma'",
                    config.where()));
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
