// One transformer block of a LLaMA-type decoder, forward and backward by hand.
//
// The forward keeps only what the backward cannot rebuild cheaply; norm outputs and the gated
// product are made again. No autograd graph exists: the only gradients are those of adapters and of
// the block's input.
//
// Shapes: N rows (B sequences of T tokens), D width, F feed-forward width.
#pragma once

#include <memory>
#include <vector>

#include "core/models/decoder_spec.hpp"
#include "core/models/linear.hpp"
#include "core/ops/attention.hpp"

namespace lora_dist {

/// Keys and values of the tokens seen so far, for generation. B = 1.
struct KvCache {
  struct Layer {
    at::Tensor k_BSKH, v_BSKH;
  };
  std::vector<Layer> layers;
  int64_t length = 0;  // tokens seen
};

/// What one micro-batch runs with.
struct BlockContext {
  int64_t batch = 1, tokens = 1;            // N = batch * tokens
  const ops::Rotation* rotation = nullptr;  // of T places in a row, or of all N rows
  PassContext pass;
  at::Tensor starts_BT = {};  // of packed rows; these three as in ops::AttentionOptions
  ops::SampleRows samples = {};
  bool deterministic = true;
  bool rotates_by_length = false;  // frequencies follow from the lengths of the samples
};

/// Kept between forward and backward. Only `input_ND` with recomputation.
struct BlockActivations {
  at::Tensor input_ND;
  at::Tensor q_raw, k_raw;            // before the per-head norms, where the family has them
  at::Tensor q_BTNH, k_BTKH, v_BTKH;  // rotated
  ops::AttentionResult attention;
  at::Tensor attention_out_ND;  // before its norm, with sandwich norms
  at::Tensor middle_ND;         // after the attention's residual
  at::Tensor gate_NF, up_NF;
  at::Tensor mlp_out_ND;  // before its norm, with sandwich norms
};

class DecoderBlock {
 public:
  /// Errors  ModelError: a weight is missing; `find` answers with its handle.
  using FindWeight = std::function<FrozenWeight(const std::string& name)>;
  DecoderBlock(const DecoderSpec& spec, int64_t layer, const FindWeight& find, at::Device device);

  /// In the order of the forward pass.
  std::vector<LinearGroup*> linear_groups();
  bool has_adapter();
  /// Where the gradients of this block's adapters end in the flat buffer; 0 without any.
  int64_t end_of_gradients();

  /// Returns the block's output. `saved` receives what backward() needs; null for inference. With
  /// `cache`, keys and values are appended to it and attention sees all of them.
  at::Tensor forward(const at::Tensor& x_ND, const BlockContext& context, BlockActivations* saved,
                     KvCache::Layer* cache);

  /// `dout_ND` is the output's gradient and becomes the input's, in place (if `need_dx`). Uses up
  /// `saved`.
  void backward(at::Tensor& dout_ND, const BlockContext& context, BlockActivations& saved,
                bool need_dx);

 private:
  struct Norm {
    at::Tensor weight;  // fp32; undefined: the family has none here
  };
  at::Tensor normed(const Norm& norm, const at::Tensor& x, at::Tensor& inv_rms) const;
  at::Tensor attention_half(const at::Tensor& x_ND, const BlockContext& context,
                            BlockActivations& saved, KvCache::Layer* cache);
  at::Tensor mlp_half(const at::Tensor& middle_ND, const BlockContext& context,
                      BlockActivations& saved);
  void mlp_backward(at::Tensor& dout_ND, const BlockContext& context, BlockActivations& saved);
  void attention_backward(at::Tensor& dmiddle_ND, const BlockContext& context,
                          BlockActivations& saved, bool need_dx);
  ops::AttentionOptions attention_options(const BlockContext& context) const;
  at::Tensor through_norm(const Norm& norm, const at::Tensor& x_ND, const at::Tensor& dy_ND) const;
  at::Tensor per_head_normed(const Norm& norm, const at::Tensor& x) const;

  const DecoderSpec& spec_;
  ops::AttentionOptions attention_options_;
  Norm input_norm_, attention_out_norm_, mlp_norm_, mlp_out_norm_, q_norm_, k_norm_;
  LinearGroup qkv_, o_proj_, gate_up_, down_proj_;
};

}  // namespace lora_dist
