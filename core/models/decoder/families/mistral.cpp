// Mistral 7B and its kin: grouped-query attention, no biases, a sliding window in v0.1.
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

std::unique_ptr<ModelOutline> mistral_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.intermediate_size = 14336,
                                               .num_kv_heads = 8,
                                               .null_kv_heads_are_all = false,
                                               .max_positions = 131072});
  set_window_of_all_layers(spec, config, /*missing=*/4096);
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
