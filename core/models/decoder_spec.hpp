// The facts by which LLaMA-type decoders differ, as one table that a family fills from config.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/ops/kernels/kernels.hpp"

namespace lora_dist {

/// Rotary position embedding (transformers' ROPE_INIT_FUNCTIONS name the kinds).
struct RopeSpec {
  std::string kind = "default";  // default | linear | dynamic | yarn | llama3
  double theta = 10000;
  double factor = 1;
  double rotary_share = 1;  // partial_rotary_factor
  int64_t original_max_positions = 0;
  // llama3
  double low_freq_factor = 1, high_freq_factor = 4;
  // yarn
  double beta_fast = 32, beta_slow = 1, mscale = 0, mscale_all_dim = 0, attention_factor = 0;
  bool truncate = true;
};

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
  bool tied_embeddings = false;
  std::vector<int64_t>
      windows;  // [layer] tokens a position sees, itself included; 0: all before it
  RopeSpec rope;

  int64_t query_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
};

/// What most families share: sizes, eps, rope, bias and tying flags by their usual names in
/// config.json. Errors  ModelError naming `where` and the key.
DecoderSpec read_common_spec(const nlohmann::ordered_json& config, const std::string& where);

/// Gives `window` to the layers that config.json's layer_types calls "sliding_attention" or, where
/// it has no such list, to those that `otherwise` picks. Errors  ModelError: a list of another
/// length.
void set_windows(DecoderSpec& spec, const nlohmann::ordered_json& config, const std::string& where,
                 int64_t window, const std::function<bool(int64_t layer)>& otherwise);
/// The same from the key sliding_window, for all layers; null or absent: none has a window.
void read_windows_of_all_layers(DecoderSpec& spec, const nlohmann::ordered_json& config,
                                const std::string& where);

/// One row of a family's table of weights.
struct WeightRow {
  std::string name;  // in the checkpoint
  std::vector<int64_t> shape;
};
/// Every tensor that a checkpoint of this spec holds; "model." names as in Hugging Face files.
std::vector<WeightRow> weight_rows(const DecoderSpec& spec);

/// Inverse frequencies (rotary / 2, fp32) for sequences of `tokens`, and the factor on cos and sin.
struct RopeFrequencies {
  std::vector<float> inverse_frequencies;
  double attention_factor = 1;
};
RopeFrequencies rope_frequencies(const DecoderSpec& spec, int64_t tokens);

}  // namespace lora_dist
