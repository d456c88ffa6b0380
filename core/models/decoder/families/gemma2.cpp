// Gemma 2: Gemma with norms behind attention and MLP, soft caps, and a window in every other layer.
#include <cmath>

#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

void make_gemma(const ConfigFields& config, DecoderSpec& spec);

std::unique_ptr<ModelOutline> gemma2_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.hidden_size = 2304,
                                               .intermediate_size = 9216,
                                               .num_layers = 26,
                                               .vocab_size = 256000,
                                               .num_heads = 8,
                                               .num_kv_heads = 4,
                                               .null_kv_heads_are_all = false,
                                               .head_dim = 256,
                                               .heads_divide_width = true,
                                               .max_positions = 8192,
                                               .tied_embeddings = true,
                                               .activation_key = "hidden_activation",
                                               .activation = "gelu_pytorch_tanh"});
  make_gemma(config, spec);
  const auto softcap = [&](const char* key, double missing) {
    return config.is_null(key) ? 0 : config.positive(key, missing);  // null: none
  };
  spec.logit_softcap = softcap("final_logit_softcapping", 30);
  const double scores_softcap = softcap("attn_logit_softcapping", 50);
  const double scale = 1.0 / std::sqrt(config.positive("query_pre_attn_scalar", 256));
  for (BlockSpec& block : spec.blocks) {
    block.sandwich_norms = true;
    block.attention.softcap = scores_softcap;
    block.attention.scale = scale;
  }
  const int64_t window =
      config.is_null("sliding_window") ? 0 : config.count("sliding_window", /*missing=*/4096);
  set_windows(spec, config, window, [](int64_t layer) { return layer % 2 == 0; });
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
