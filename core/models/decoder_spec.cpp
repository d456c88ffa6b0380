#include "core/models/decoder_spec.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.hpp"
#include "core/log.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kMostLayers = 10'000;

// Names of transformers' ACT2FN. Several of them are one function.
kernels::Activation read_activation(const ConfigFields& config, const FamilyDefaults& family) {
  using kernels::Activation;
  static const std::map<std::string, Activation> kActivations = {
      {"silu", Activation::silu},
      {"swish", Activation::silu},
      {"gelu", Activation::gelu},
      {"gelu_python", Activation::gelu},
      {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"gelu_python_tanh", Activation::gelu_tanh},
      {"gelu_new", Activation::gelu_tanh},
      {"gelu_fast", Activation::gelu_tanh},
      {"gelu_accurate", Activation::gelu_tanh},
      {"relu", Activation::relu}};
  const std::string name = config.text(family.activation_key, family.activation);
  const auto known = kActivations.find(name);
  if (known == kActivations.end()) {
    std::vector<std::string> names;
    for (const auto& [one, activation] : kActivations) names.push_back(one);
    config.refuse(family.activation_key, fmt::format("one of {}", fmt::join(names, ", ")),
                  "choose a base model with one of these");
  }
  return known->second;
}

int64_t read_kv_heads(const ConfigFields& config, const FamilyDefaults& family, int64_t num_heads) {
  constexpr const char* kKey = "num_key_value_heads";
  const bool one_each =
      family.num_kv_heads == 0 || (family.null_kv_heads_are_all && config.is_null(kKey));
  const int64_t kv_heads = config.count(kKey, one_each ? num_heads : family.num_kv_heads);
  if (num_heads % kv_heads != 0) {
    throw ModelError({.where = config.where(),
                      .found = fmt::format("num_attention_heads {} with num_key_value_heads {}",
                                           num_heads, kv_heads),
                      .expected = "a multiple",
                      .fix = ConfigFields::kOwnConfig});
  }
  return kv_heads;
}

int64_t read_head_dim(const ConfigFields& config, const FamilyDefaults& family,
                      const DecoderSpec& spec) {
  const auto refuse = [&](const std::string& found, const std::string& expected) {
    throw ModelError({.where = config.where(),
                      .found = found,
                      .expected = expected,
                      .fix = ConfigFields::kOwnConfig});
  };
  const bool divides = spec.hidden_size % spec.num_heads == 0;
  if (family.heads_divide_width && !divides)
    refuse(
        fmt::format("hidden_size {} with num_attention_heads {}", spec.hidden_size, spec.num_heads),
        "a multiple");
  const int64_t of_width = spec.hidden_size / spec.num_heads;
  const int64_t head_dim =
      config.count("head_dim", family.head_dim > 0 ? family.head_dim : of_width);
  if (head_dim < 2 || head_dim % 2 != 0)
    refuse(fmt::format("heads of {} features", head_dim), "an even number, half of it to rotate");
  return head_dim;
}

// Settings under which transformers computes something else than a causal decoder with one kind of
// layer.
void refuse_other_models(const ConfigFields& config) {
  for (const char* key :
       {"is_encoder_decoder", "add_cross_attention", "use_bidirectional_attention"}) {
    if (config.flag(key, false)) config.refuse(key, "false", "choose a causal language model");
  }
  if (config.is_null("is_causal") || !config.flag("is_causal", true))  // null is false there
    config.refuse("is_causal", "true", "choose a causal language model");
  if (config.has("per_layer_config"))
    config.refuse("per_layer_config", "layers of one kind", "choose another base model");
  for (const std::string& name : config.texts("architectures")) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
    const bool is_mixture =
        lower.find("moe") != std::string::npos || lower.find("mixtral") != std::string::npos;
    if (!lower.ends_with("forcausallm") || is_mixture)
      config.refuse("architectures", "a dense causal language model (...ForCausalLM)",
                    "choose another base model");
  }
}

// transformers drops activations of a base in training mode; a LoRA run here drops adapters' inputs
// alone.
void warn_of_dropouts(const ConfigFields& config, const FamilyDefaults& family) {
  for (const std::string& key : family.dropouts) {
    if (config.number(key.c_str(), 0) != 0)
      log_warning(fmt::format("{}: {} of the base is not applied in training; lora_dropout is",
                              config.where(), key));
  }
}

}  // namespace

DecoderSpec read_common_spec(const ConfigFields& config, const FamilyDefaults& family) {
  refuse_other_models(config);
  DecoderSpec spec;
  spec.model_type = config.text("model_type", "");
  spec.hidden_size = config.count("hidden_size", family.hidden_size);
  spec.intermediate_size = config.count("intermediate_size", family.intermediate_size);
  spec.num_layers = config.count("num_hidden_layers", family.num_layers);
  if (spec.num_layers > kMostLayers)
    config.refuse("num_hidden_layers", fmt::format("at most {}", kMostLayers));
  spec.vocab_size = config.count("vocab_size", family.vocab_size);
  spec.num_heads = config.count("num_attention_heads", family.num_heads);
  spec.num_kv_heads = read_kv_heads(config, family, spec.num_heads);
  spec.head_dim = read_head_dim(config, family, spec);
  spec.max_positions = config.count("max_position_embeddings", family.max_positions);
  spec.rms_norm_eps = config.positive("rms_norm_eps", family.rms_norm_eps);
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_dim));
  spec.tied_embeddings = config.flag("tie_word_embeddings", family.tied_embeddings);
  spec.activation = read_activation(config, family);
  spec.windows.assign(spec.num_layers, 0);
  spec.rope = read_rope(config, {.max_positions = spec.max_positions,
                                 .head_dim = spec.head_dim,
                                 .is_phi3 = family.rope_of_phi3});
  warn_of_dropouts(config, family);
  return spec;
}

void set_windows(DecoderSpec& spec, const ConfigFields& config, int64_t window,
                 const std::function<bool(int64_t layer)>& otherwise) {
  const std::vector<std::string> types = config.texts("layer_types");
  if (config.has("layer_types") && static_cast<int64_t>(types.size()) != spec.num_layers) {
    throw ModelError({.where = config.where(),
                      .found = fmt::format("layer_types names {} layers", types.size()),
                      .expected = fmt::format("num_hidden_layers, {}", spec.num_layers),
                      .fix = ConfigFields::kOwnConfig});
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    bool windowed = otherwise(layer);
    if (!types.empty()) {
      windowed = types[layer] == "sliding_attention";
      if (!windowed && types[layer] != "full_attention")
        config.refuse("layer_types", "full_attention and sliding_attention",
                      "choose another base model");
    }
    if (windowed && window == 0)
      throw ModelError({.where = config.where(),
                        .found = "'sliding_attention' layers without a window in force",
                        .expected = "sliding_window, in Qwen with use_sliding_window: true",
                        .fix = ConfigFields::kOwnConfig});
    spec.windows[layer] = windowed ? window : 0;
  }
}

void refuse_windows(DecoderSpec& spec, const ConfigFields& config) {
  set_windows(spec, config, /*window=*/0, [](int64_t) { return false; });
}

void set_window_of_all_layers(DecoderSpec& spec, const ConfigFields& config, int64_t missing) {
  constexpr const char* kKey = "sliding_window";
  const int64_t window = config.is_null(kKey) ? 0 : config.count(kKey, missing);
  spec.windows.assign(spec.num_layers, window);
  if (config.has("layer_types"))
    log_warning(fmt::format("{}: layer_types has no effect in '{}', all layers are alike",
                            config.where(), spec.model_type));
}

std::vector<WeightRow> weight_rows(const DecoderSpec& spec) {
  const int64_t d = spec.hidden_size, f = spec.intermediate_size, q = spec.query_width(),
                kv = spec.kv_width();
  std::vector<WeightRow> rows = {{spec.embedding_weight, {spec.vocab_size, d}},
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

}  // namespace lora_dist
