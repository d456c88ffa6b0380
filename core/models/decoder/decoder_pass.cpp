#include "core/models/decoder/decoder_pass.hpp"

#include "core/base/error.hpp"

namespace lora_dist {

DecoderPass::DecoderPass(Decoder& model, const TextBatch& batch, const PassContext& pass,
                         bool with_gradients)
    : model_(model),
      batch_(batch),
      with_gradients_(with_gradients),
      layout_(model.layout_of(batch)),
      context_{.batch = batch.tokens_BT.size(0),
               .tokens = batch.tokens_BT.size(1),
               .rotation = &layout_.rotation,
               .pass = pass,
               .starts_BT = layout_.starts_BT,
               .samples = layout_.samples,
               .deterministic = model.options().deterministic,
               .rotates_by_length = model.spec().rope.depends_on_length()},
      plan_{.lowest_learning =
                with_gradients ? model.lowest_learning_block() : model.spec().num_blocks(),
            .recompute = model.options().recompute_blocks},
      weights_(model.weights_, model.outline().units_of_pass(plan_.lowest_learning)),
      plain_(model.blocks_, context_, plan_),
      blocks_(with_gradients && model.recorded_ ? model.recorded_->pass_for(context_, plan_)
                                                : plain_) {
  require_attached(model.linear_groups(), pass);
}

void DecoderPass::forward() {
  weights_.enter_next_unit();
  hidden_ND_ = model_.embed(batch_.tokens_BT.flatten());
  for (int64_t block = 0; block < model_.spec().num_blocks(); ++block) {
    weights_.enter_next_unit();
    hidden_ND_ = blocks_.forward(block, hidden_ND_);
  }
  weights_.enter_next_unit();  // the head's
}

// Rows are counted on the host, where labels lie, so that no GPU is waited for.
LabelledRows DecoderPass::labelled_rows(const at::Tensor& weights_BT) const {
  const at::Device device = model_.options().device;
  const at::Tensor labels_N = batch_.labels_BT.flatten();
  const at::Tensor rows_R = at::nonzero(labels_N != kIgnoredLabel).squeeze(1);
  const auto of_rows = [&](const at::Tensor& values_N) {
    return values_N.index_select(0, rows_R).to(device);
  };
  return {.rows_R = rows_R.to(device),
          .targets = {
              .labels_C = of_rows(labels_N),
              .weights_C = weights_BT.defined() ? of_rows(weights_BT.flatten()) : at::Tensor()}};
}

HeadLosses DecoderPass::losses(const Loss& loss, const at::Tensor& weights_BT) {
  return model_.head_.losses(hidden_ND_, labelled_rows(weights_BT), loss,
                             with_gradients_ ? &dhidden_ND_ : nullptr);
}

void DecoderPass::backward(const GradientProgress& progress) {
  LD_CHECK(dhidden_ND_.defined(), "a backward pass begins with the gradient of losses");
  hidden_ND_.reset();
  const std::vector<int64_t> final_from = model_.first_final_elements();
  for (int64_t block = model_.spec().num_blocks() - 1; block >= plan_.lowest_learning; --block) {
    weights_.enter_next_unit();
    blocks_.backward(block, dhidden_ND_);
    if (progress) progress(final_from[block]);
  }
}

}  // namespace lora_dist
