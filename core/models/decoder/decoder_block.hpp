// One transformer block of a LLaMA-type decoder, forward and backward by hand.
//
// The forward keeps only what the backward cannot rebuild cheaply; norm outputs and the gated
// product are made again. No autograd graph exists: the only gradients are those of adapters and of
// the block's input.
//
// Shapes: N rows (B sequences of T tokens), D width.
#pragma once

#include "core/models/decoder/decoder_spec.hpp"

namespace lora_dist {

/// `path` is that of the block: "model.layers.0".
void add_block_rows(const BlockSpec& spec, const TableScope& table);
LayerCost block_cost(const BlockSpec& spec, const std::string& path, const PassShape& shape,
                     const AdapterLoadOf& adapters);

/// Kept between forward and backward. Only `input_ND` with recomputation.
struct BlockActivations {
  at::Tensor input_ND;
  SelfAttention::Saved attention;
  at::Tensor attention_out_ND;  // before its norm, with sandwich norms
  at::Tensor middle_ND;         // after the attention's residual
  GatedMlp::Saved mlp;
  at::Tensor mlp_out_ND;  // before its norm, with sandwich norms

  bool is_complete() const { return middle_ND.defined(); }
};

class DecoderBlock {
 public:
  /// Errors  ModelError: a weight is missing.
  DecoderBlock(const BlockSpec& spec, const NormSpec& norm, const WeightScope& weights);

  /// In the order of the forward pass.
  std::vector<LinearGroup*> linear_groups();
  bool has_adapter();
  /// Where the gradients of this block's adapters end in the flat buffer; 0 without any.
  int64_t end_of_gradients();

  /// Returns the block's output. `saved` receives what backward() needs; null for inference. With
  /// `cache`, keys and values are appended to it and attention sees all of them.
  at::Tensor forward(const at::Tensor& x_ND, const SequenceContext& context,
                     BlockActivations* saved, KvCache::Layer* cache);

  /// `dout_ND` is the output's gradient and becomes the input's, in place (if `need_dx`). Uses up
  /// `saved`.
  void backward(at::Tensor& dout_ND, const SequenceContext& context, BlockActivations& saved,
                bool need_dx);

 private:
  RmsNorm input_norm_, attention_out_norm_, mlp_norm_, mlp_out_norm_;
  SelfAttention attention_;
  GatedMlp mlp_;
};

}  // namespace lora_dist
