// The facts by which LLaMA-type decoders differ, which a family reads from config.json: a list of
// blocks, and what stands before and behind them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/models/decoder/rope_spec.hpp"
#include "core/models/layers/gated_mlp.hpp"
#include "core/models/layers/self_attention.hpp"

namespace lora_dist {

inline constexpr const char* kEmbeddingWeight = "model.embed_tokens.weight";
inline constexpr const char* kHeadWeight = "lm_head.weight";

/// One block: attention, then the feed-forward layer, each between norms and beside a skip.
struct BlockSpec {
  AttentionSpec attention;
  MlpSpec mlp;
  bool sandwich_norms = false;  // Gemma 2: norms behind attention and MLP too

  bool operator==(const BlockSpec&) const = default;
};

struct DecoderSpec {
  std::string model_type;
  int64_t hidden_size = 0, vocab_size = 0, max_positions = 0;
  NormSpec norm;
  double embedding_scale = 1;
  double logit_softcap = 0;                         // 0: none
  bool tied_embeddings = false;                     // the head is the embedding (tied_head.hpp)
  std::string embedding_weight = kEmbeddingWeight;  // its name in the files
  RopeSpec rope;
  std::vector<BlockSpec> blocks;

  bool operator==(const DecoderSpec&) const = default;

  int64_t num_blocks() const { return static_cast<int64_t>(blocks.size()); }
  /// Features of a head, the same in all blocks: they share one rotation.
  int64_t head_dim() const { return blocks.front().attention.head_dim; }
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
/// For a family without windows. Errors  ModelError: layer_types asks for one.
void refuse_windows(DecoderSpec& spec, const ConfigFields& config);
/// The key sliding_window, or `missing`, for all layers; 0 and null: none has a window.
void set_window_of_all_layers(DecoderSpec& spec, const ConfigFields& config, int64_t missing);

}  // namespace lora_dist
