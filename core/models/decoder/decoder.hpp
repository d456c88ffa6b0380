// A LLaMA-type causal language model with a frozen base: embedding, a list of blocks, head.
//
// Shapes: B sequences, T tokens, N = B * T rows, D width, V vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/models/decoder/block_pass.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/models/decoder/text_batch.hpp"
#include "core/models/layers/embedding.hpp"
#include "core/models/layers/language_head.hpp"

namespace lora_dist {

HeadSpec head_spec(const DecoderSpec& spec);

class Decoder;
/// Errors  ModelError: `model` is no language model.
Decoder& as_decoder(Model& model);

class Decoder final : public Model {
 public:
  /// Checks every weight of the table against `weights`, which must outlive the model.
  /// Errors  ModelError naming missing or misshaped tensors.
  Decoder(DecoderSpec spec, WeightSource& weights, ModelOptions options);

  Decoder(const Decoder&) = delete;  // a pass refers to it
  Decoder& operator=(const Decoder&) = delete;

  const DecoderSpec& spec() const { return outline_.spec(); }
  const DecoderOutline& outline() const override { return outline_; }
  const ModelOptions& options() const override { return options_; }
  void set_recompute_blocks(bool recompute) override { options_.recompute_blocks = recompute; }
  void record_blocks(std::shared_ptr<ops::cuda::GraphRecorder> recorder) override {
    recorded_ = std::make_unique<RecordedPasses>(blocks_, std::move(recorder));
  }
  std::vector<LinearGroup*> linear_groups() override;

  /// The weights' pass of a DecoderPass, nothing computed: for a rank that has no micro-batch while
  /// ranks that share a sharded base with it have one. `progress` is called as there.
  void accompany(bool with_gradients, const GradientProgress& progress);

  /// fp32 logits (T, V) of one sequence, or of its last token only; continues after what `cache`
  /// holds. `pass` says which adapters answer.
  at::Tensor logits(const std::vector<int64_t>& tokens, KvCache* cache, bool last_only,
                    const PassContext& pass = {});
  KvCache make_cache() const;
  /// Whether `more` tokens behind those of `cache` ask for an empty one and all tokens again.
  bool outgrows(const KvCache& cache, int64_t more) const;

 private:
  friend class DecoderPass;

  // Of the layers with an adapter; num_blocks() without any. Below it nothing learns: nothing is
  // kept there and no gradient goes there.
  int64_t lowest_learning_block();
  /// [block] Where the flat gradient is final from when this block's backward is done: behind all
  /// that belongs to the blocks below.
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

  DecoderOutline outline_;
  ModelOptions options_;
  WeightSource& weights_;
  Embedding embedding_;
  std::vector<DecoderBlock> blocks_;
  LanguageHead head_;
  std::unique_ptr<RecordedPasses> recorded_;  // null: kernels are launched one by one
  ops::Rotation rotation_table_;              // positions from 0, grown on demand
};

}  // namespace lora_dist
