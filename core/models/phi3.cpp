// Phi-3, Phi-3.5, Phi-4: q, k, v come from one product, gate and up from another; a sliding window
// in the 4k models, LongRoPE in the 128k ones, a share of each head rotated in Phi-4-mini.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec phi3_spec(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.hidden_size = 3072,
                                               .intermediate_size = 8192,
                                               .vocab_size = 32064,
                                               .max_positions = 4096,
                                               .rms_norm_eps = 1e-5,
                                               .rope_of_phi3 = true,
                                               .dropouts = {"attention_dropout", "resid_pdrop"}});
  spec.fused_projections = true;
  set_window_of_all_layers(spec, config, /*missing=*/0);
  return spec;
}

}  // namespace lora_dist
