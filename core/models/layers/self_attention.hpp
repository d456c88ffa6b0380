// Causal self-attention of a decoder: projections, rotation, attention, projection back.
//
// Grouped queries (several query heads share a key head), norms over each head of q and k, a
// sliding window, soft-capped scores, one fused projection: by the spec of the layer.
//
// Shapes: N rows (B sequences of T tokens), D width, H head width.
#pragma once

#include "core/models/layers/rms_norm.hpp"
#include "core/models/layers/sequences.hpp"
#include "core/models/layers/weight_scope.hpp"
#include "core/models/profile.hpp"
#include "core/models/weight_table.hpp"

namespace lora_dist {

struct AttentionSpec {
  int64_t width = 0;  // D
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 0;    // of q k^T
  double softcap = 0;  // of the scores; 0: none
  int64_t window = 0;  // tokens a position sees, itself included; 0: all before it
  bool qkv_bias = false, output_bias = false;
  bool query_key_norm = false;  // Qwen3: RMSNorm over each head of q and k
  bool is_fused = false;        // Phi-3: one qkv_proj

  bool operator==(const AttentionSpec&) const = default;
  int64_t query_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
};

void add_attention_rows(const AttentionSpec& spec, const TableScope& table);
/// `path` is that of the layer: "model.layers.0.self_attn".
LayerCost attention_cost(const AttentionSpec& spec, const std::string& path, const PassShape& shape,
                         const AdapterLoadOf& adapters);

class SelfAttention {
 public:
  SelfAttention(const AttentionSpec& spec, const NormSpec& norm, const WeightScope& weights);

  /// Kept between forward and backward.
  struct Saved {
    at::Tensor q_raw, k_raw;            // before the norms of their heads, where there are any
    at::Tensor q_BTNH, k_BTKH, v_BTKH;  // rotated
    ops::AttentionResult attention;
  };

  /// In the order of the forward pass.
  std::vector<LinearGroup*> linear_groups() { return {&qkv_, &o_proj_}; }

  /// With `cache`, keys and values are appended to it and all of them are seen.
  at::Tensor forward(const at::Tensor& x_ND, const SequenceContext& context, Saved& saved,
                     KvCache::Layer* cache);
  /// dx_ND (undefined) becomes the gradient of x, if `need_dx`.
  void backward(const RebuildInput& input_ND, const at::Tensor& dout_ND,
                const SequenceContext& context, const Saved& saved, at::Tensor& dx_ND,
                bool need_dx);

 private:
  ops::AttentionOptions options(const SequenceContext& context) const;
  at::Tensor normed_heads(const RmsNorm& norm, const at::Tensor& x) const;
  at::Tensor gradient_of_heads(const RmsNorm& norm, const at::Tensor& x,
                               const at::Tensor& dy) const;

  AttentionSpec spec_;
  LinearGroup qkv_, o_proj_;
  RmsNorm q_norm_, k_norm_;
};

}  // namespace lora_dist
