#include "core/models/decoder_block.hpp"

#include "core/error.hpp"
#include "core/trace.hpp"

namespace lora_dist {
namespace {

std::string layer_name(int64_t layer, const std::string& part) {
  return fmt::format("model.layers.{}.{}", layer, part);
}

Linear make_linear(int64_t layer, const std::string& part, bool bias,
                   const DecoderBlock::FindWeight& find) {
  const std::string name = layer_name(layer, part);
  return Linear(name, find(name + ".weight"), bias ? find(name + ".bias") : FrozenWeight());
}

LinearGroup make_qkv(const DecoderSpec& spec, int64_t layer, const DecoderBlock::FindWeight& find) {
  std::vector<Linear> linears;
  if (spec.fused_projections) {
    linears.push_back(make_linear(layer, "self_attn.qkv_proj", false, find));
  } else {
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
      linears.push_back(make_linear(layer, part, spec.qkv_bias, find));
  }
  return LinearGroup(std::move(linears), {spec.query_width(), spec.kv_width(), spec.kv_width()});
}

LinearGroup make_gate_up(const DecoderSpec& spec, int64_t layer,
                         const DecoderBlock::FindWeight& find) {
  std::vector<Linear> linears;
  if (spec.fused_projections) {
    linears.push_back(make_linear(layer, "mlp.gate_up_proj", false, find));
  } else {
    for (const char* part : {"mlp.gate_proj", "mlp.up_proj"})
      linears.push_back(make_linear(layer, part, spec.mlp_bias, find));
  }
  return LinearGroup(std::move(linears), {spec.intermediate_size, spec.intermediate_size});
}

// (N, heads * H) rows to (B, T, heads, H), a view.
at::Tensor as_heads(const at::Tensor& x, const BlockContext& context, int64_t head_dim) {
  return x.unflatten(1, {-1, head_dim}).unflatten(0, {context.batch, context.tokens});
}

// Back to (N, heads * H) rows.
at::Tensor as_rows(const at::Tensor& x_BTNH) {
  return x_BTNH.contiguous().flatten(2, 3).flatten(0, 1);
}

}  // namespace

DecoderBlock::DecoderBlock(const DecoderSpec& spec, int64_t layer, const FindWeight& find,
                           at::Device device)
    : spec_(spec),
      attention_options_{spec.attention_scale, spec.attention_softcap, spec.windows[layer]},
      qkv_(make_qkv(spec, layer, find)),
      o_proj_({make_linear(layer, "self_attn.o_proj", spec.output_bias, find)}),
      gate_up_(make_gate_up(spec, layer, find)),
      down_proj_({make_linear(layer, "mlp.down_proj", spec.mlp_bias, find)}) {
  // Norms are a few kB: kept in fp32 for the run.
  const auto norm = [&](const std::string& part) {
    return Norm{
        find(layer_name(layer, part + ".weight")).get().to(device, at::kFloat).contiguous()};
  };
  input_norm_ = norm("input_layernorm");
  if (spec.sandwich_norms) {
    attention_out_norm_ = norm("post_attention_layernorm");
    mlp_norm_ = norm("pre_feedforward_layernorm");
    mlp_out_norm_ = norm("post_feedforward_layernorm");
  } else {
    mlp_norm_ = norm("post_attention_layernorm");
  }
  if (spec.query_key_norm) {
    q_norm_ = norm("self_attn.q_norm");
    k_norm_ = norm("self_attn.k_norm");
  }
}

std::vector<LinearGroup*> DecoderBlock::linear_groups() {
  return {&qkv_, &o_proj_, &gate_up_, &down_proj_};
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

at::Tensor DecoderBlock::normed(const Norm& norm, const at::Tensor& x, at::Tensor& inv_rms) const {
  return ops::rms_norm(x, norm.weight, spec_.norm_offset, spec_.rms_norm_eps, inv_rms);
}

at::Tensor DecoderBlock::per_head_normed(const Norm& norm, const at::Tensor& x) const {
  at::Tensor inv_rms;
  return normed(norm, x.contiguous().view({-1, spec_.head_dim}), inv_rms).view(x.sizes());
}

// The gradient before a norm, given the one behind it.
at::Tensor DecoderBlock::through_norm(const Norm& norm, const at::Tensor& x_ND,
                                      const at::Tensor& dy_ND) const {
  at::Tensor inv_rms, dx_ND;
  normed(norm, x_ND, inv_rms);
  ops::rms_norm_backward(x_ND, norm.weight, spec_.norm_offset, inv_rms, dy_ND, dx_ND);
  return dx_ND;
}

at::Tensor DecoderBlock::forward(const at::Tensor& x_ND, const BlockContext& context,
                                 BlockActivations* saved, KvCache::Layer* cache) {
  const trace::Span span("block forward");
  BlockActivations unsaved;
  BlockActivations& keep = saved ? *saved : unsaved;
  keep.input_ND = x_ND;
  keep.middle_ND = attention_half(x_ND, context, keep, cache);
  return mlp_half(keep.middle_ND, context, keep);
}

ops::AttentionOptions DecoderBlock::attention_options(const BlockContext& context) const {
  ops::AttentionOptions options = attention_options_;
  options.starts_BT = context.starts_BT;
  options.samples = context.samples;
  options.deterministic = context.deterministic;
  return options;
}

at::Tensor DecoderBlock::attention_half(const at::Tensor& x_ND, const BlockContext& context,
                                        BlockActivations& saved, KvCache::Layer* cache) {
  at::Tensor inv_rms;
  std::vector<at::Tensor> qkv = qkv_.forward(normed(input_norm_, x_ND, inv_rms), context.pass);
  if (spec_.query_key_norm) {
    saved.q_raw = qkv[0];
    saved.k_raw = qkv[1];
    qkv[0] = per_head_normed(q_norm_, qkv[0]);
    qkv[1] = per_head_normed(k_norm_, qkv[1]);
  }
  ops::rope(qkv[0], spec_.head_dim, *context.rotation, /*inverse=*/false);
  ops::rope(qkv[1], spec_.head_dim, *context.rotation, /*inverse=*/false);
  saved.q_BTNH = as_heads(qkv[0], context, spec_.head_dim);
  saved.k_BTKH = as_heads(qkv[1], context, spec_.head_dim);
  saved.v_BTKH = as_heads(qkv[2], context, spec_.head_dim);
  at::Tensor keys = saved.k_BTKH, values = saved.v_BTKH;
  if (cache) {
    if (cache->k_BSKH.defined()) {
      keys = at::cat({cache->k_BSKH, keys}, 1);
      values = at::cat({cache->v_BSKH, values}, 1);
    }
    cache->k_BSKH = keys;
    cache->v_BSKH = values;
  }
  saved.attention = ops::attention(saved.q_BTNH, keys, values, attention_options(context));
  at::Tensor out_ND = o_proj_.forward(as_rows(saved.attention.out_BTNH), context.pass).front();
  if (spec_.sandwich_norms) {
    saved.attention_out_ND = out_ND;
    out_ND = normed(attention_out_norm_, out_ND, inv_rms);
  }
  return out_ND.add_(x_ND);
}

at::Tensor DecoderBlock::mlp_half(const at::Tensor& middle_ND, const BlockContext& context,
                                  BlockActivations& saved) {
  at::Tensor inv_rms;
  const std::vector<at::Tensor> gate_up =
      gate_up_.forward(normed(mlp_norm_, middle_ND, inv_rms), context.pass);
  saved.gate_NF = gate_up[0];
  saved.up_NF = gate_up[1];
  at::Tensor out_ND =
      down_proj_.forward(ops::gated(spec_.activation, saved.gate_NF, saved.up_NF), context.pass)
          .front();
  if (spec_.sandwich_norms) {
    saved.mlp_out_ND = out_ND;
    out_ND = normed(mlp_out_norm_, out_ND, inv_rms);
  }
  return out_ND.add_(middle_ND);
}

void DecoderBlock::backward(at::Tensor& dout_ND, const BlockContext& context,
                            BlockActivations& saved, bool need_dx) {
  const trace::Span span("block backward");
  if (!saved.gate_NF.defined()) forward(saved.input_ND, context, &saved, /*cache=*/nullptr);
  mlp_backward(dout_ND, context, saved);
  attention_backward(dout_ND, context, saved, need_dx);
  saved = {};
}

// dout arrives at both ends of the residual: it stays in place as the skip's share, and the
// branch's share is added.
void DecoderBlock::mlp_backward(at::Tensor& dout_ND, const BlockContext& context,
                                BlockActivations& saved) {
  const at::Tensor dbranch_ND =
      spec_.sandwich_norms ? through_norm(mlp_out_norm_, saved.mlp_out_ND, dout_ND) : dout_ND;
  at::Tensor dproduct_NF;
  down_proj_.backward(ops::gated(spec_.activation, saved.gate_NF, saved.up_NF), {dbranch_ND},
                      dproduct_NF,
                      /*need_dx=*/true, context.pass);
  ops::gated_backward(spec_.activation, saved.gate_NF, saved.up_NF, dproduct_NF);
  at::Tensor inv_rms, dnormed_ND;
  const at::Tensor normed_ND = normed(mlp_norm_, saved.middle_ND, inv_rms);
  gate_up_.backward(normed_ND, {saved.gate_NF, saved.up_NF}, dnormed_ND, /*need_dx=*/true,
                    context.pass);
  ops::rms_norm_backward(saved.middle_ND, mlp_norm_.weight, spec_.norm_offset, inv_rms, dnormed_ND,
                         dout_ND);
}

void DecoderBlock::attention_backward(at::Tensor& dmiddle_ND, const BlockContext& context,
                                      BlockActivations& saved, bool need_dx) {
  const at::Tensor dbranch_ND =
      spec_.sandwich_norms ? through_norm(attention_out_norm_, saved.attention_out_ND, dmiddle_ND)
                           : dmiddle_ND;
  at::Tensor dattention;
  o_proj_.backward(as_rows(saved.attention.out_BTNH), {dbranch_ND}, dattention, /*need_dx=*/true,
                   context.pass);
  const ops::AttentionGradients gradients = ops::attention_backward(
      saved.q_BTNH, saved.k_BTKH, saved.v_BTKH, saved.attention,
      as_heads(dattention, context, spec_.head_dim), attention_options(context));
  std::vector<at::Tensor> dqkv = {as_rows(gradients.dq_BTNH), as_rows(gradients.dk_BTKH),
                                  as_rows(gradients.dv_BTKH)};
  ops::rope(dqkv[0], spec_.head_dim, *context.rotation, /*inverse=*/true);
  ops::rope(dqkv[1], spec_.head_dim, *context.rotation, /*inverse=*/true);
  if (spec_.query_key_norm) {
    const auto undo = [&](const Norm& norm, const at::Tensor& raw, const at::Tensor& gradient) {
      return through_norm(norm, raw.contiguous().view({-1, spec_.head_dim}),
                          gradient.view({-1, spec_.head_dim}))
          .view(gradient.sizes());
    };
    dqkv[0] = undo(q_norm_, saved.q_raw, dqkv[0]);
    dqkv[1] = undo(k_norm_, saved.k_raw, dqkv[1]);
  }
  at::Tensor inv_rms, dnormed_ND;
  const at::Tensor normed_ND = normed(input_norm_, saved.input_ND, inv_rms);
  qkv_.backward(normed_ND, dqkv, dnormed_ND, need_dx, context.pass);
  if (need_dx) {
    ops::rms_norm_backward(saved.input_ND, input_norm_.weight, spec_.norm_offset, inv_rms,
                           dnormed_ND, dmiddle_ND);
  }
}

}  // namespace lora_dist
