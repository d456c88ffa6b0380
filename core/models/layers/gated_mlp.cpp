#include "core/models/layers/gated_mlp.hpp"

#include <algorithm>

namespace lora_dist {
namespace {

// The module names of transformers.
const std::vector<std::string> kGateAndUp = {"gate_proj", "up_proj"},
                               kGateUpFused = {"gate_up_proj"};
constexpr const char* kDown = "down_proj";

const std::vector<std::string>& gate_up_names(const MlpSpec& spec) {
  return spec.is_fused ? kGateUpFused : kGateAndUp;
}

std::vector<Linear> gate_up_linears(const MlpSpec& spec, const WeightScope& weights) {
  std::vector<Linear> linears;
  for (const std::string& name : gate_up_names(spec))
    linears.push_back(weights.linear(name, spec.bias));
  return linears;
}

}  // namespace

void add_mlp_rows(const MlpSpec& spec, const TableScope& table) {
  const int64_t out = spec.is_fused ? 2 * spec.feed_forward : spec.feed_forward;
  for (const std::string& name : gate_up_names(spec))
    table.linear(name, out, spec.width, spec.bias);
  table.linear(kDown, spec.width, spec.feed_forward, spec.bias);
}

LayerCost mlp_cost(const MlpSpec& spec, const std::string& path, const PassShape& shape,
                   const AdapterLoadOf& adapters) {
  const int64_t d = shape.activation(spec.width), f = shape.activation(spec.feed_forward);
  std::vector<std::string> inputs;
  for (const std::string& name : gate_up_names(spec)) inputs.push_back(path + "." + name);
  const AdapterLoad of_inputs = adapters(inputs, spec.width, shape);
  const AdapterLoad of_down = adapters({path + "." + kDown}, spec.feed_forward, shape);
  const double matrices =
      3 * static_cast<double>(spec.width) * static_cast<double>(spec.feed_forward);
  LayerCost cost;
  cost.kept_bytes = 2 * f;
  // The gated product and what follows from it.
  cost.forward_bytes = f + d + of_down.forward_bytes + shape.converted(f + d);
  // The gated product made again and its gradient; then the gradients of gate and up stand in their
  // place, and x is made again.
  cost.backward_bytes = std::max(2 * f + shape.converted(f + d) + of_down.backward_bytes,
                                 f + 2 * d + of_inputs.backward_bytes);
  cost.forward_flops = cost.backward_flops = 2 * matrices;
  return cost;
}

GatedMlp::GatedMlp(const MlpSpec& spec, const WeightScope& weights)
    : activation_(spec.activation),
      gate_up_(gate_up_linears(spec, weights), {spec.feed_forward, spec.feed_forward}),
      down_proj_({weights.linear(kDown, spec.bias)}) {}

at::Tensor GatedMlp::forward(const at::Tensor& x_ND, const SequenceContext& context, Saved& saved) {
  const std::vector<at::Tensor> gate_up = gate_up_.forward(x_ND, context.pass);
  saved.gate_NF = gate_up[0];
  saved.up_NF = gate_up[1];
  return down_proj_.forward(ops::gated(activation_, saved.gate_NF, saved.up_NF), context.pass)
      .front();
}

void GatedMlp::backward(const RebuildInput& input_ND, const at::Tensor& dout_ND,
                        const SequenceContext& context, Saved& saved, at::Tensor& dx_ND,
                        bool need_dx) {
  at::Tensor dproduct_NF;
  down_proj_.backward(ops::gated(activation_, saved.gate_NF, saved.up_NF), {dout_ND}, dproduct_NF,
                      /*need_dx=*/true, context.pass);
  ops::gated_backward(activation_, saved.gate_NF, saved.up_NF, dproduct_NF);
  gate_up_.backward(input_ND(), {saved.gate_NF, saved.up_NF}, dx_ND, need_dx, context.pass);
}

}  // namespace lora_dist
