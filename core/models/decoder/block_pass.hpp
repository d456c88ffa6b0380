// The blocks of one micro-batch, forward and backward: kernel by kernel, or as graphs that were
// recorded when a micro-batch of the same shape ran.
//
// A graph is one block's forward or one block's backward: gradients are final, and sums may set
// off, between blocks as without graphs. Embedding and head stay outside: the number of rows with a
// label is another one each time.
//
// Shapes: B sequences, T tokens, N = B * T rows, D width.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "core/models/decoder/decoder_block.hpp"
#include "core/ops/cuda/graph.hpp"

namespace lora_dist {

class BlockPass {
 public:
  virtual ~BlockPass() = default;
  /// For layers 0, 1, ..., each once; x_ND is what the embedding or the layer before gave.
  virtual at::Tensor forward(int64_t layer, const at::Tensor& x_ND) = 0;
  /// For layers from the last one down to the lowest that learns, each once: dout_ND, the gradient
  /// of the layer's output, becomes that of its input.
  virtual void backward(int64_t layer, at::Tensor& dout_ND) = 0;
};

/// What is the same for all micro-batches of a run.
struct BlockPlan {
  int64_t lowest_learning = 0;  // layers below keep nothing, and no gradient goes there
  bool recompute = false;       // the others keep their input alone
  bool operator==(const BlockPlan&) const = default;
};

class PlainPass final : public BlockPass {
 public:
  /// `blocks` and what `context` points at outlive it.
  PlainPass(std::vector<DecoderBlock>& blocks, const SequenceContext& context,
            const BlockPlan& plan)
      : blocks_(blocks), context_(context), plan_(plan), saved_(blocks.size()) {}

  at::Tensor forward(int64_t layer, const at::Tensor& x_ND) override;
  void backward(int64_t layer, at::Tensor& dout_ND) override;

 private:
  std::vector<DecoderBlock>& blocks_;
  const SequenceContext context_;
  const BlockPlan plan_;
  std::vector<BlockActivations> saved_;  // [layer]
};

/// Recorded passes, one for each shape of the last micro-batches. The first micro-batch of a shape
/// rehearses, the second one is recorded, those behind it are replayed.
///
/// All of them together take the memory that the largest takes without graphs, and two hidden
/// states (N, D) beside it; with packed rows each has a rotation and starts of its own.
class RecordedPasses {
 public:
  /// The shape that was not used for longest is given up for a new one beyond these.
  static constexpr size_t kMostShapes = 8;

  RecordedPasses(std::vector<DecoderBlock>& blocks,
                 std::shared_ptr<ops::cuda::GraphRecorder> recorder);
  ~RecordedPasses();

  /// The pass of a micro-batch that runs with `context`, of which nothing is kept but addresses in
  /// weights and adapters. Valid until the next call.
  BlockPass& pass_for(const SequenceContext& context, const BlockPlan& plan);

 private:
  struct Shape;
  class StaticContext;
  class Pass;

  /// Rows that passes share, for only one of them runs at a time. Larger ones are new ones.
  class SharedRows {
   public:
    at::Tensor like(const at::Tensor& x_ND);

   private:
    at::Tensor rows_ND_;
  };

  std::vector<DecoderBlock>& blocks_;
  std::shared_ptr<ops::cuda::GraphRecorder> recorder_;
  SharedRows input_rows_, output_rows_;
  std::list<std::unique_ptr<Pass>> passes_;  // the last used one first
};

}  // namespace lora_dist
