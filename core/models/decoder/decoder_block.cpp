#include "core/models/decoder/decoder_block.hpp"

#include <algorithm>

#include "core/base/trace.hpp"

namespace lora_dist {
namespace {

// Module names of a block, as in transformers.
constexpr const char *kAttention = "self_attn", *kMlp = "mlp", *kInputNorm = "input_layernorm",
                     *kBehindAttention = "post_attention_layernorm",
                     *kBeforeMlp = "pre_feedforward_layernorm",
                     *kBehindMlp = "post_feedforward_layernorm";

// x + branch, the branch through the norm behind it where there is one; `before_norm` keeps what
// that norm's backward needs.
at::Tensor joined(const at::Tensor& x_ND, at::Tensor branch_ND, const RmsNorm& norm,
                  at::Tensor& before_norm_ND) {
  if (norm) {
    before_norm_ND = branch_ND;
    branch_ND = norm.forward(branch_ND).y_ND;
  }
  return branch_ND.add_(x_ND);
}

// dout arrives at both ends of the skip: it stays in place as the skip's share, and `branch` adds
// its own. `branch` is given the gradient of its output and a way to make its input again, and
// makes the gradient of that input.
template <class Branch>
void backward_beside_skip(const RmsNorm& norm_before, const RmsNorm& norm_behind,
                          const at::Tensor& x_ND, const at::Tensor& before_norm_ND,
                          at::Tensor& dout_ND, bool need_dx, const Branch& branch) {
  const at::Tensor dbranch_ND =
      norm_behind ? norm_behind.gradient(before_norm_ND, dout_ND) : dout_ND;
  RmsNorm::Output normed;
  at::Tensor dnormed_ND;
  branch(
      [&] {
        normed = norm_before.forward(x_ND);
        return normed.y_ND;
      },
      dbranch_ND, dnormed_ND);
  if (need_dx) norm_before.backward(x_ND, normed.inv_rms_N, dnormed_ND, dout_ND);
}

}  // namespace

void add_block_rows(const BlockSpec& spec, const TableScope& table) {
  const int64_t width = spec.attention.width;
  table.norm(kInputNorm, width);
  table.norm(kBehindAttention, width);
  if (spec.sandwich_norms) {
    table.norm(kBeforeMlp, width);
    table.norm(kBehindMlp, width);
  }
  add_attention_rows(spec.attention, table.within(kAttention));
  add_mlp_rows(spec.mlp, table.within(kMlp));
}

LayerCost block_cost(const BlockSpec& spec, const std::string& path, const PassShape& shape,
                     const AdapterLoadOf& adapters) {
  const LayerCost attention =
      attention_cost(spec.attention, path + "." + kAttention, shape, adapters);
  const LayerCost mlp = mlp_cost(spec.mlp, path + "." + kMlp, shape, adapters);
  const int64_t d = shape.activation(spec.attention.width);
  LayerCost cost;
  // The input and the sum behind attention; with sandwich norms what goes into those behind.
  cost.kept_bytes = attention.kept_bytes + mlp.kept_bytes + (spec.sandwich_norms ? 4 : 2) * d;
  cost.forward_bytes = std::max(attention.forward_bytes, mlp.forward_bytes);
  cost.backward_bytes = d + std::max(attention.backward_bytes, mlp.backward_bytes);
  cost.forward_flops = attention.forward_flops + mlp.forward_flops;
  cost.backward_flops = attention.backward_flops + mlp.backward_flops;
  return cost;
}

DecoderBlock::DecoderBlock(const BlockSpec& spec, const NormSpec& norm, const WeightScope& weights)
    : attention_(spec.attention, norm, weights.within(kAttention)),
      mlp_(spec.mlp, weights.within(kMlp)) {
  const auto norm_at = [&](const char* place) { return RmsNorm(weights.vector(place), norm); };
  input_norm_ = norm_at(kInputNorm);
  if (spec.sandwich_norms) {
    attention_out_norm_ = norm_at(kBehindAttention);
    mlp_norm_ = norm_at(kBeforeMlp);
    mlp_out_norm_ = norm_at(kBehindMlp);
  } else {
    mlp_norm_ = norm_at(kBehindAttention);  // named by where it stands, it belongs to the MLP
  }
}

std::vector<LinearGroup*> DecoderBlock::linear_groups() {
  std::vector<LinearGroup*> all = attention_.linear_groups();
  for (LinearGroup* group : mlp_.linear_groups()) all.push_back(group);
  return all;
}

bool DecoderBlock::has_adapter() {
  const std::vector<LinearGroup*> all = linear_groups();
  return std::any_of(all.begin(), all.end(),
                     [](LinearGroup* group) { return group->has_adapter(); });
}

int64_t DecoderBlock::end_of_gradients() {
  int64_t end = 0;
  for (const LinearGroup* group : linear_groups()) end = std::max(end, group->end_of_gradients());
  return end;
}

at::Tensor DecoderBlock::forward(const at::Tensor& x_ND, const SequenceContext& context,
                                 BlockActivations* saved, KvCache::Layer* cache) {
  const trace::Span span("block forward");
  BlockActivations unsaved;
  BlockActivations& keep = saved ? *saved : unsaved;
  keep.input_ND = x_ND;
  keep.middle_ND = joined(
      x_ND, attention_.forward(input_norm_.forward(x_ND).y_ND, context, keep.attention, cache),
      attention_out_norm_, keep.attention_out_ND);
  return joined(keep.middle_ND,
                mlp_.forward(mlp_norm_.forward(keep.middle_ND).y_ND, context, keep.mlp),
                mlp_out_norm_, keep.mlp_out_ND);
}

void DecoderBlock::backward(at::Tensor& dout_ND, const SequenceContext& context,
                            BlockActivations& saved, bool need_dx) {
  const trace::Span span("block backward");
  if (!saved.is_complete()) forward(saved.input_ND, context, &saved, /*cache=*/nullptr);
  backward_beside_skip(
      mlp_norm_, mlp_out_norm_, saved.middle_ND, saved.mlp_out_ND, dout_ND, /*need_dx=*/true,
      [&](const RebuildInput& input, const at::Tensor& dbranch_ND, at::Tensor& dx_ND) {
        mlp_.backward(input, dbranch_ND, context, saved.mlp, dx_ND, /*need_dx=*/true);
      });
  backward_beside_skip(
      input_norm_, attention_out_norm_, saved.input_ND, saved.attention_out_ND, dout_ND, need_dx,
      [&](const RebuildInput& input, const at::Tensor& dbranch_ND, at::Tensor& dx_ND) {
        attention_.backward(input, dbranch_ND, context, saved.attention, dx_ND, need_dx);
      });
  saved = {};
}

}  // namespace lora_dist
