// Qwen2 and Qwen2.5: biases on q, k and v; an optional sliding window in the upper layers.
#include "core/models/decoder_spec.hpp"

namespace lora_dist {

/// Qwen's window: only with use_sliding_window, by layer_types where given, else from layer
/// max_window_layers on.
void read_qwen_windows(const nlohmann::ordered_json& config, DecoderSpec& spec) {
  if (!config.value("use_sliding_window", false) || !config.contains("sliding_window") ||
      !config["sliding_window"].is_number())
    return;
  const auto window = config["sliding_window"].get<int64_t>();
  const bool by_type = config.contains("layer_types") && config["layer_types"].is_array();
  const int64_t first_windowed = config.value("max_window_layers", int64_t{28});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool windowed =
        by_type ? config["layer_types"][layer] == "sliding_attention" : layer >= first_windowed;
    spec.windows[layer] = windowed ? window : 0;
  }
}

DecoderSpec qwen2_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = read_common_spec(config, where);
  spec.qkv_bias = true;
  read_qwen_windows(config, spec);
  return spec;
}

}  // namespace lora_dist
