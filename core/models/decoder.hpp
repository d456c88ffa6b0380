// A LLaMA-type causal language model with a frozen base: embedding, blocks, head, loss.
//
// Shapes: B sequences, T tokens, N = B * T rows, D width, V vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/models/block_pass.hpp"
#include "core/models/decoder_spec.hpp"
#include "core/tasks/text_batch.hpp"

namespace lora_dist {

struct DecoderOptions {
  at::ScalarType compute = at::kFloat;  // dtype of activations: fp32 or bf16
  at::Device device = at::kCPU;
  bool recompute_blocks = false;  // gradient_checkpointing: keep block inputs only
  bool deterministic = true;      // a step gives the same bits in every run, on a GPU too
};

/// Rows of logits that are computed at once, of `rows` with a label; never the whole (N, V).
int64_t logit_chunk_rows(int64_t rows, int64_t bytes_per_row);

class Decoder {
 public:
  /// Checks every weight of the family's table against `weights`, which must outlive the model.
  /// Errors  ModelError naming missing, misshaped or extra tensors.
  Decoder(DecoderSpec spec, WeightSource& weights, DecoderOptions options);

  Decoder(const Decoder&) = delete;  // blocks refer to the spec
  Decoder& operator=(const Decoder&) = delete;

  const DecoderSpec& spec() const { return spec_; }
  const DecoderOptions& options() const { return options_; }
  void set_recompute_blocks(bool recompute) { options_.recompute_blocks = recompute; }
  /// forward_backward() runs the blocks as recorded graphs from here on. Weights, adapters' copies
  /// and their gradient stay where they are, and weights are stored as they are multiplied.
  void record_blocks(std::shared_ptr<ops::cuda::GraphRecorder> recorder) {
    recorded_ = std::make_unique<RecordedPasses>(blocks_, std::move(recorder));
  }
  /// Every linear layer an adapter may sit on, by module path, in the order of the model.
  std::vector<LinearGroup*> linear_groups();

  /// Sum of the token losses of a micro-batch, in fp64; adapter gradients of that sum are added to
  /// their buffers. `progress`, if any, is called behind the backward of every block.
  double forward_backward(const TextBatch& batch, const PassContext& pass,
                          const GradientProgress& progress = {});
  /// The same sum without gradients or dropout.
  double loss(const TextBatch& batch);
  /// The weights' pass of forward_backward() (if `with_gradients`) or of loss(), nothing computed:
  /// for a rank that has no micro-batch while ranks that share a sharded base with it have one.
  /// `progress` is called as there.
  void accompany(bool with_gradients, const GradientProgress& progress = {});
  /// fp32 logits (T, V) of one sequence, or of its last token only; continues after what `cache`
  /// holds.
  at::Tensor logits(const std::vector<int64_t>& tokens, KvCache* cache, bool last_only);
  KvCache make_cache() const;
  /// Whether `more` tokens behind those of `cache` ask for an empty one and all tokens again.
  bool outgrows(const KvCache& cache, int64_t more) const;

 private:
  // Of the layers with an adapter; num_layers without any. Below it nothing learns: nothing is kept
  // there and no gradient goes there.
  int64_t lowest_learning_layer();
  /// [layer] Where the flat gradient is final from when this layer's backward is done: behind all
  /// that belongs to the layers below.
  std::vector<int64_t> first_final_elements();
  at::Tensor embed(const at::Tensor& tokens_N) const;
  RopeFrequencies frequencies(int64_t tokens) const;
  ops::Rotation rotation_by(const at::Tensor& angles_TH, double attention_factor) const;
  ops::Rotation rotation(int64_t first_position, int64_t tokens);
  ops::Rotation rotation_by_lengths(const TextBatch& batch) const;
  struct BatchLayout {
    ops::Rotation rotation = {};
    at::Tensor starts_BT = {};  // undefined: rows of one sample each
    ops::SampleRows samples = {};
  };
  BatchLayout layout_of(const TextBatch& batch);
  BlockContext context_of(const TextBatch& batch, const BatchLayout& layout,
                          const PassContext& pass) const;
  const FrozenWeight& head() const { return spec_.tied_embeddings ? embedding_ : head_; }
  /// Loss over rows with a label, in chunks, as ops::cross_entropy returns it; `dhidden_ND` (if not
  /// null) receives the gradient of all rows. `labels_BT` lies on the host, where the rows are
  /// counted without waiting for a GPU.
  at::Tensor head_loss(const at::Tensor& hidden_ND, const at::Tensor& labels_BT,
                       at::Tensor* dhidden_ND);

  DecoderSpec spec_;
  DecoderOptions options_;
  WeightSource& weights_;
  FrozenWeight embedding_, head_;
  at::Tensor final_norm_;  // (D), fp32
  std::vector<DecoderBlock> blocks_;
  std::unique_ptr<RecordedPasses> recorded_;  // null: kernels are launched one by one
  // The largest temporary, kept: taken and freed at the peak of every step, it would leave holes in
  // the heap that do not fit it again.
  at::Tensor logits_buffer_;
  ops::Rotation rotation_table_;  // positions from 0, grown on demand
};

}  // namespace lora_dist
