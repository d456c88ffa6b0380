// Qwen2 and Qwen2.5: biases on q, k and v; an optional sliding window in the upper layers.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

/// Only with use_sliding_window; without layer_types from layer max_window_layers on. Qwen3 has the
/// same keys.
void read_qwen_windows(const nlohmann::ordered_json& config, const std::string& where,
                       DecoderSpec& spec) {
  if (!config.value("use_sliding_window", false) || !config.contains("sliding_window") ||
      !config["sliding_window"].is_number())
    return;
  const int64_t first_windowed = config.value("max_window_layers", int64_t{28});
  set_windows(spec, config, where, config["sliding_window"],
              [first_windowed](int64_t layer) { return layer >= first_windowed; });
}

DecoderSpec qwen2_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.qkv_bias = true;
  read_qwen_windows(config, where, spec);
  return spec;
}

}  // namespace lora_dist
