// The facts by which LLaMA-type decoders differ, as one table that a family fills from config.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/models/rope_spec.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist {

struct DecoderSpec {
  std::string model_type;
  int64_t hidden_size = 0, intermediate_size = 0, num_layers = 0, vocab_size = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  double norm_offset = 0;  // Gemma multiplies by 1 + weight
  double embedding_scale = 1;
  double attention_scale = 0;    // of q k^T
  double attention_softcap = 0;  // 0: none
  double logit_softcap = 0;
  kernels::Activation activation = kernels::Activation::silu;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool query_key_norm = false;     // Qwen3: RMSNorm over each head of q and k
  bool fused_projections = false;  // Phi-3: qkv_proj and gate_up_proj
  bool sandwich_norms = false;     // Gemma 2: norms behind attention and MLP too
  bool tied_embeddings = false;    // the head is the embedding (core/models/tied_head.hpp)
  std::string embedding_weight = "model.embed_tokens.weight";  // its name in the files
  std::vector<int64_t>
      windows;  // [layer] tokens a position sees, itself included; 0: all before it
  RopeSpec rope;

  bool operator==(const DecoderSpec&) const = default;

  int64_t query_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
};

/// What transformers' config class of a family takes where config.json is silent.
struct FamilyDefaults {
  int64_t hidden_size = 4096, intermediate_size = 0, num_layers = 32, vocab_size = 32000;
  int64_t num_heads = 32, num_kv_heads = 0;  // 0: as many as heads
  bool null_kv_heads_are_all = true;         // null means as many as heads, else the default
  int64_t head_dim = 0;                      // 0: hidden_size / num_heads
  bool heads_divide_width = false;           // hidden_size must be a multiple of num_heads
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  bool tied_embeddings = false;
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
  bool rope_of_phi3 = false;
  std::vector<std::string> dropouts = {"attention_dropout"};  // that act in training
};

/// What all families share: sizes, eps, activation, rope and tying. Bias flags and windows are the
/// family's own. Errors  ModelError naming the file and the key.
DecoderSpec read_common_spec(const ConfigFields& config, const FamilyDefaults& family);

/// Gives `window` to the layers that config.json's layer_types calls "sliding_attention" or, where
/// it has no such list, to those that `otherwise` picks. Errors  ModelError: a list of another
/// length or with other types, layers with a window of 0.
void set_windows(DecoderSpec& spec, const ConfigFields& config, int64_t window,
                 const std::function<bool(int64_t layer)>& otherwise);
/// Of a family without windows. Errors  ModelError: layer_types asks for one.
void refuse_windows(DecoderSpec& spec, const ConfigFields& config);
/// The key sliding_window, or `missing`, for all layers; 0 and null: none has a window.
void set_window_of_all_layers(DecoderSpec& spec, const ConfigFields& config, int64_t missing);

/// One row of a family's table of weights.
struct WeightRow {
  std::string name;  // in the checkpoint
  std::vector<int64_t> shape;
};
/// Every tensor that a checkpoint of this spec holds; "model." names as in Hugging Face files.
std::vector<WeightRow> weight_rows(const DecoderSpec& spec);

}  // namespace lora_dist
