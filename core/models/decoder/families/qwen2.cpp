// Qwen2 and Qwen2.5: biases on q, k and v; an optional sliding window in the upper layers.
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {

/// Only with use_sliding_window; without layer_types from layer max_window_layers on. Qwen3 has the
/// same keys.
void read_qwen_windows(const ConfigFields& config, DecoderSpec& spec) {
  const bool used = config.flag("use_sliding_window", false);
  const int64_t given =
      config.is_null("sliding_window") ? 0 : config.count("sliding_window", /*missing=*/4096);
  const int64_t window = used ? given : 0;
  // 0 is a number of its own here: all layers have the window.
  const int64_t first_windowed =
      config.json().value("max_window_layers", nlohmann::ordered_json()) == 0
          ? 0
          : config.count("max_window_layers", /*missing=*/28);
  set_windows(spec, config, window,
              [&](int64_t layer) { return window > 0 && layer >= first_windowed; });
}

std::unique_ptr<ModelOutline> qwen2_model(const ConfigFields& config) {
  DecoderSpec spec = read_common_spec(config, {.intermediate_size = 22016,
                                               .vocab_size = 151936,
                                               .num_kv_heads = 32,
                                               .max_positions = 32768});
  for (BlockSpec& block : spec.blocks) {
    block.attention.qkv_bias = true;
  }
  read_qwen_windows(config, spec);
  return make_decoder_outline(std::move(spec));
}

}  // namespace lora_dist
