// A training or scoring pass of one micro-batch through a decoder.
//
// Shapes: B sequences, T tokens, N = B * T rows, D width.
#pragma once

#include "core/models/decoder/decoder.hpp"

namespace lora_dist {

/// One micro-batch on its way through a decoder: forward(), then losses() as often as a task wants
/// them, then backward() with the gradient that the last losses() made.
///
/// A collective of the ranks that share a sharded base, like any pass over its units.
class DecoderPass {
 public:
  /// `model` and `batch` outlive it.
  DecoderPass(Decoder& model, const TextBatch& batch, const PassContext& pass, bool with_gradients);
  DecoderPass(const DecoderPass&) = delete;
  DecoderPass& operator=(const DecoderPass&) = delete;

  /// Embedding and blocks, up to where the head runs.
  void forward();
  /// Losses of the positions with a label. `weights_BT` (fp32, may be undefined) is each position's
  /// share of the sum. Makes the sum's gradient of what forward() gave, if the pass is one with
  /// gradients.
  HeadLosses losses(const Loss& loss, const at::Tensor& weights_BT = {});
  /// Gradients of the adapters' tensors, added to their buffers. `progress`, if any, is called
  /// behind every block.
  void backward(const GradientProgress& progress);

 private:
  LabelledRows labelled_rows(const at::Tensor& weights_BT) const;

  Decoder& model_;
  const TextBatch& batch_;
  const bool with_gradients_;
  const Decoder::BatchLayout layout_;
  const SequenceContext context_;
  const BlockPlan plan_;
  WeightPass weights_;
  PlainPass plain_;
  BlockPass& blocks_;
  at::Tensor hidden_ND_, dhidden_ND_;
};

}  // namespace lora_dist
