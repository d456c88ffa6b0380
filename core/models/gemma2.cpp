// Gemma 2: Gemma with norms behind attention and MLP, soft caps, and a window in every other layer.
#include <cmath>

#include "core/models/decoder_spec.hpp"

namespace lora_dist {

DecoderSpec gemma_spec(const nlohmann::ordered_json& config, const std::string& where);

DecoderSpec gemma2_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec = gemma_spec(config, where);
  spec.sandwich_norms = true;
  const auto softcap = [&](const char* key) {
    return config.contains(key) && config[key].is_number() ? config[key].get<double>() : 0.0;
  };
  spec.attention_softcap = softcap("attn_logit_softcapping");
  spec.logit_softcap = softcap("final_logit_softcapping");
  spec.attention_scale =
      1.0 / std::sqrt(config.value("query_pre_attn_scalar", static_cast<double>(spec.head_dim)));
  set_windows(spec, config, where, config.value("sliding_window", int64_t{4096}),
              [](int64_t layer) { return layer % 2 == 0; });
  return spec;
}

}  // namespace lora_dist
