#include "core/models/decoder/decoder_spec.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/base/error.hpp"
#include "core/base/log.hpp"

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

int64_t read_head_dim(const ConfigFields& config, const FamilyDefaults& family, int64_t hidden_size,
                      int64_t num_heads) {
  const auto refuse = [&](const std::string& found, const std::string& expected) {
    throw ModelError({.where = config.where(),
                      .found = found,
                      .expected = expected,
                      .fix = ConfigFields::kOwnConfig});
  };
  const bool divides = hidden_size % num_heads == 0;
  if (family.heads_divide_width && !divides)
    refuse(fmt::format("hidden_size {} with num_attention_heads {}", hidden_size, num_heads),
           "a multiple");
  const int64_t of_width = hidden_size / num_heads;
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
    const double share = config.number(key.c_str(), 0);
    if (share != 0)
      log_warning(
          fmt::format("{}: {} {} of the base is not applied in training, where transformers "
                      "applies it, so losses differ; write 0 there to compare the two "
                      "(lora_dropout is applied)",
                      config.where(), key, share));
  }
}

}  // namespace

namespace {

// All blocks alike; what differs from one to the next is the family's own.
std::vector<BlockSpec> read_blocks(const ConfigFields& config, const FamilyDefaults& family,
                                   int64_t hidden_size) {
  BlockSpec block;
  block.mlp.width = block.attention.width = hidden_size;
  block.mlp.feed_forward = config.count("intermediate_size", family.intermediate_size);
  const int64_t num_layers = config.count("num_hidden_layers", family.num_layers);
  if (num_layers > kMostLayers)
    config.refuse("num_hidden_layers", fmt::format("at most {}", kMostLayers));
  AttentionSpec& attention = block.attention;
  attention.num_heads = config.count("num_attention_heads", family.num_heads);
  attention.num_kv_heads = read_kv_heads(config, family, attention.num_heads);
  attention.head_dim = read_head_dim(config, family, hidden_size, attention.num_heads);
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
  block.mlp.activation = read_activation(config, family);
  return std::vector<BlockSpec>(static_cast<size_t>(num_layers), block);
}

}  // namespace

DecoderSpec read_common_spec(const ConfigFields& config, const FamilyDefaults& family) {
  refuse_other_models(config);
  DecoderSpec spec;
  spec.model_type = config.text("model_type", "");
  spec.hidden_size = config.count("hidden_size", family.hidden_size);
  spec.blocks = read_blocks(config, family, spec.hidden_size);
  spec.vocab_size = config.count("vocab_size", family.vocab_size);
  spec.max_positions = config.count("max_position_embeddings", family.max_positions);
  spec.norm.eps = config.positive("rms_norm_eps", family.rms_norm_eps);
  spec.tied_embeddings = config.flag("tie_word_embeddings", family.tied_embeddings);
  spec.rope = read_rope(config, {.max_positions = spec.max_positions,
                                 .head_dim = spec.head_dim(),
                                 .is_phi3 = family.rope_of_phi3});
  warn_of_dropouts(config, family);
  return spec;
}

void set_windows(DecoderSpec& spec, const ConfigFields& config, int64_t window,
                 const std::function<bool(int64_t layer)>& otherwise) {
  const std::vector<std::string> types = config.texts("layer_types");
  if (config.has("layer_types") && static_cast<int64_t>(types.size()) != spec.num_blocks()) {
    throw ModelError({.where = config.where(),
                      .found = fmt::format("layer_types names {} layers", types.size()),
                      .expected = fmt::format("num_hidden_layers, {}", spec.num_blocks()),
                      .fix = ConfigFields::kOwnConfig});
  }
  for (int64_t layer = 0; layer < spec.num_blocks(); ++layer) {
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
    spec.blocks[layer].attention.window = windowed ? window : 0;
  }
}

void refuse_windows(DecoderSpec& spec, const ConfigFields& config) {
  set_windows(spec, config, /*window=*/0, [](int64_t) { return false; });
}

void set_window_of_all_layers(DecoderSpec& spec, const ConfigFields& config, int64_t missing) {
  constexpr const char* kKey = "sliding_window";
  const int64_t window = config.is_null(kKey) ? 0 : config.count(kKey, missing);
  for (BlockSpec& block : spec.blocks) {
    block.attention.window = window;
  }
  if (config.has("layer_types"))
    log_warning(fmt::format("{}: layer_types has no effect in '{}', all layers are alike",
                            config.where(), spec.model_type));
}

}  // namespace lora_dist
