// Phi-3, Phi-3.5, Phi-4: q, k, v come from one product, gate and up from another; a sliding window
// in the 4k models, LongRoPE in the 128k ones, a share of each head rotated in Phi-4-mini.
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

std::unique_ptr<ModelOutline> phi3_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.hidden_size = 3072,
                                               .intermediate_size = 8192,
                                               .vocab_size = 32064,
                                               .max_positions = 4096,
                                               .rms_norm_eps = 1e-5,
                                               .rope_of_phi3 = true,
                                               .dropouts = {"attention_dropout", "resid_pdrop"}});
  for (BlockSpec& block : spec.blocks) {
    block.attention.is_fused = block.mlp.is_fused = true;
  }
  set_window_of_all_layers(spec, config, /*missing=*/0);
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
