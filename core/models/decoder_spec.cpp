#include "core/models/decoder_spec.hpp"

#include <cmath>

#include "core/error.hpp"

namespace lora_dist {
namespace {

using Json = nlohmann::ordered_json;

bool has_number(const Json& config, const char* key) {
  return config.contains(key) && config[key].is_number();
}

int64_t required_size(const Json& config, const std::string& where, const char* key) {
  if (!has_number(config, key) || config[key].get<int64_t>() <= 0) {
    throw ModelError({.where = where,
                      .found = fmt::format("{} is {}", key,
                                           config.contains(key) ? config[key].dump() : "missing"),
                      .expected = "a positive number",
                      .fix = "use the config.json that came with the model"});
  }
  return config[key].get<int64_t>();
}

// rope_parameters (transformers v5) or rope_theta + rope_scaling (before), one dict for all layers.
RopeSpec read_rope(const Json& config, const std::string& where) {
  Json parameters = Json::object();
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (config.contains(key) && config[key].is_object()) parameters = config[key];
  }
  RopeSpec rope;
  rope.theta = has_number(parameters, "rope_theta") ? parameters["rope_theta"].get<double>()
                                                    : config.value("rope_theta", 10000.0);
  rope.rotary_share = has_number(parameters, "partial_rotary_factor")
                          ? parameters["partial_rotary_factor"].get<double>()
                          : config.value("partial_rotary_factor", 1.0);
  rope.kind = parameters.value("rope_type", parameters.value("type", "default"));
  static const std::vector<std::string> kKinds = {"default", "linear", "dynamic", "yarn", "llama3"};
  if (std::find(kKinds.begin(), kKinds.end(), rope.kind) == kKinds.end()) {
    throw ModelError({.where = where,
                      .found = fmt::format("rope type '{}'", rope.kind),
                      .expected = fmt::format("one of {}", fmt::join(kKinds, ", ")),
                      .fix = "choose a base model with one of these"});
  }
  const auto number = [&](const char* key, double missing) {
    return has_number(parameters, key) ? parameters[key].get<double>() : missing;
  };
  const auto max_positions =
      static_cast<double>(config.value("max_position_embeddings", int64_t{2048}));
  rope.original_max_positions =
      static_cast<int64_t>(has_number(config, "original_max_position_embeddings")
                               ? config["original_max_position_embeddings"].get<double>()
                               : number("original_max_position_embeddings", max_positions));
  rope.factor = number(
      "factor",
      rope.kind == "yarn" ? max_positions / static_cast<double>(rope.original_max_positions) : 1);
  rope.low_freq_factor = number("low_freq_factor", 1);
  rope.high_freq_factor = number("high_freq_factor", 4);
  rope.beta_fast = number("beta_fast", 32);
  rope.beta_slow = number("beta_slow", 1);
  rope.mscale = number("mscale", 0);
  rope.mscale_all_dim = number("mscale_all_dim", 0);
  rope.attention_factor = number("attention_factor", 0);
  rope.truncate = parameters.value("truncate", true);
  return rope;
}

// The share of each frequency that keeps its trained value ("extrapolates"), by how often it turns
// in the pretraining length. Source  Peng et al. 2023, "YaRN", section 3.2; bounds as in
// transformers.
std::vector<float> yarn_kept_share(const RopeSpec& rope, int64_t dim) {
  const auto turning_dim = [&](double turns) {
    return static_cast<double>(dim) *
           std::log(static_cast<double>(rope.original_max_positions) / (turns * 2 * M_PI)) /
           (2 * std::log(rope.theta));
  };
  double low = turning_dim(rope.beta_fast), high = turning_dim(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  std::vector<float> kept(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i) {
    kept[i] =
        static_cast<float>(1 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0));
  }
  return kept;
}

double yarn_attention_factor(const RopeSpec& rope) {
  if (rope.attention_factor > 0) return rope.attention_factor;
  const auto mscale = [&](double weight) {
    return rope.factor <= 1 ? 1.0 : 0.1 * weight * std::log(rope.factor) + 1;
  };
  return rope.mscale > 0 && rope.mscale_all_dim > 0
             ? mscale(rope.mscale) / mscale(rope.mscale_all_dim)
             : mscale(1);
}

// Long wavelengths are stretched by `factor`, short ones kept, those between blended. Source
// Llama 3.1's release.
float llama3_frequency(const RopeSpec& rope, float frequency) {
  const auto old_length = static_cast<double>(rope.original_max_positions);
  const double wavelength = 2 * M_PI / frequency;
  if (wavelength < old_length / rope.high_freq_factor) return frequency;
  if (wavelength > old_length / rope.low_freq_factor)
    return frequency / static_cast<float>(rope.factor);
  const double kept = (old_length / wavelength - rope.low_freq_factor) /
                      (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - kept) * frequency / rope.factor + kept * frequency);
}

}  // namespace

DecoderSpec read_common_spec(const nlohmann::ordered_json& config, const std::string& where) {
  DecoderSpec spec;
  spec.model_type = config.value("model_type", "");
  spec.hidden_size = required_size(config, where, "hidden_size");
  spec.intermediate_size = required_size(config, where, "intermediate_size");
  spec.num_layers = required_size(config, where, "num_hidden_layers");
  spec.vocab_size = required_size(config, where, "vocab_size");
  spec.num_heads = required_size(config, where, "num_attention_heads");
  spec.num_kv_heads = has_number(config, "num_key_value_heads")
                          ? required_size(config, where, "num_key_value_heads")
                          : spec.num_heads;
  spec.head_dim = has_number(config, "head_dim") ? required_size(config, where, "head_dim")
                                                 : spec.hidden_size / spec.num_heads;
  spec.max_positions = config.value("max_position_embeddings", int64_t{2048});
  spec.rms_norm_eps = config.value("rms_norm_eps", 1e-6);
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  spec.qkv_bias = config.value("attention_bias", false);
  spec.mlp_bias = config.value("mlp_bias", false);
  spec.tied_embeddings = config.value("tie_word_embeddings", false);
  spec.windows.assign(spec.num_layers, 0);
  spec.rope = read_rope(config, where);
  if (spec.num_heads % spec.num_kv_heads != 0) {
    throw ModelError({.where = where,
                      .found = fmt::format("num_attention_heads {} with num_key_value_heads {}",
                                           spec.num_heads, spec.num_kv_heads),
                      .expected = "a multiple",
                      .fix = "use the config.json that came with the model"});
  }
  const std::string activation =
      config.value("hidden_activation", config.value("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish" && activation.rfind("gelu", 0) != 0) {
    throw ModelError({.where = where,
                      .found = fmt::format("hidden_act '{}'", activation),
                      .expected = "silu or gelu_pytorch_tanh",
                      .fix = {}});
  }
  return spec;
}

void set_windows(DecoderSpec& spec, const nlohmann::ordered_json& config, const std::string& where,
                 int64_t window, const std::function<bool(int64_t layer)>& otherwise) {
  const bool by_type = config.contains("layer_types") && config["layer_types"].is_array();
  if (by_type && static_cast<int64_t>(config["layer_types"].size()) != spec.num_layers) {
    throw ModelError(
        {.where = where,
         .found = fmt::format("layer_types names {} layers", config["layer_types"].size()),
         .expected = fmt::format("num_hidden_layers, {}", spec.num_layers),
         .fix = "use the config.json that came with the model"});
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool windowed =
        by_type ? config["layer_types"][layer] == "sliding_attention" : otherwise(layer);
    spec.windows[layer] = windowed ? window : 0;
  }
}

void read_windows_of_all_layers(DecoderSpec& spec, const nlohmann::ordered_json& config,
                                const std::string& where) {
  if (!has_number(config, "sliding_window")) return;
  set_windows(spec, config, where, config["sliding_window"], [](int64_t) { return true; });
}

std::vector<WeightRow> weight_rows(const DecoderSpec& spec) {
  const int64_t d = spec.hidden_size, f = spec.intermediate_size, q = spec.query_width(),
                kv = spec.kv_width();
  std::vector<WeightRow> rows = {{"model.embed_tokens.weight", {spec.vocab_size, d}},
                                 {"model.norm.weight", {d}}};
  if (!spec.tied_embeddings) rows.push_back({"lm_head.weight", {spec.vocab_size, d}});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
      rows.push_back({prefix + name + ".weight", {out, in}});
      if (bias) rows.push_back({prefix + name + ".bias", {out}});
    };
    const auto norm = [&](const std::string& name, int64_t width) {
      rows.push_back({prefix + name + ".weight", {width}});
    };
    norm("input_layernorm", d);
    norm("post_attention_layernorm", d);
    if (spec.sandwich_norms)
      norm("pre_feedforward_layernorm", d), norm("post_feedforward_layernorm", d);
    if (spec.query_key_norm)
      norm("self_attn.q_norm", spec.head_dim), norm("self_attn.k_norm", spec.head_dim);
    if (spec.fused_projections) {
      linear("self_attn.qkv_proj", q + 2 * kv, d, false);
      linear("mlp.gate_up_proj", 2 * f, d, false);
    } else {
      linear("self_attn.q_proj", q, d, spec.qkv_bias);
      linear("self_attn.k_proj", kv, d, spec.qkv_bias);
      linear("self_attn.v_proj", kv, d, spec.qkv_bias);
      linear("mlp.gate_proj", f, d, spec.mlp_bias);
      linear("mlp.up_proj", f, d, spec.mlp_bias);
    }
    linear("self_attn.o_proj", d, q, spec.output_bias);
    linear("mlp.down_proj", d, f, spec.mlp_bias);
  }
  return rows;
}

RopeFrequencies rope_frequencies(const DecoderSpec& spec, int64_t tokens) {
  const RopeSpec& rope = spec.rope;
  const auto dim = static_cast<int64_t>(static_cast<double>(spec.head_dim) * rope.rotary_share);
  double theta = rope.theta;
  if (rope.kind ==
      "dynamic") {  // NTK: the base grows with the sequence once it exceeds the trained length
    const auto trained = static_cast<double>(spec.max_positions);
    const double length = std::max(static_cast<double>(tokens), trained);
    theta *= std::pow(rope.factor * length / trained - (rope.factor - 1),
                      static_cast<double>(dim) / static_cast<double>(dim - 2));
  }
  RopeFrequencies result;
  const std::vector<float> kept =
      rope.kind == "yarn" ? yarn_kept_share(rope, dim) : std::vector<float>();
  for (int64_t i = 0; i < dim / 2; ++i) {
    auto frequency = static_cast<float>(
        1.0 / std::pow(theta, static_cast<double>(2 * i) / static_cast<double>(dim)));
    if (rope.kind == "linear") frequency /= static_cast<float>(rope.factor);
    if (rope.kind == "llama3") frequency = llama3_frequency(rope, frequency);
    if (rope.kind == "yarn") frequency *= kept[i] + (1 - kept[i]) / static_cast<float>(rope.factor);
    result.inverse_frequencies.push_back(frequency);
  }
  if (rope.kind == "yarn") result.attention_factor = yarn_attention_factor(rope);
  return result;
}

}  // namespace lora_dist
