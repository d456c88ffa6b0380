// The feed-forward layer of a decoder: down(act(gate(x)) * up(x)).
//
// Source  Shazeer 2020, "GLU Variants Improve Transformer". Shapes: N rows, D width, F feed-forward
// width.
#pragma once

#include "core/models/layers/sequences.hpp"
#include "core/models/layers/weight_scope.hpp"
#include "core/models/profile.hpp"
#include "core/models/weight_table.hpp"

namespace lora_dist {

struct MlpSpec {
  int64_t width = 0;         // D
  int64_t feed_forward = 0;  // F
  kernels::Activation activation = kernels::Activation::silu;
  bool bias = false;
  bool is_fused = false;  // Phi-3: one gate_up_proj

  bool operator==(const MlpSpec&) const = default;
};

void add_mlp_rows(const MlpSpec& spec, const TableScope& table);
/// `path` is that of the layer: "model.layers.0.mlp".
LayerCost mlp_cost(const MlpSpec& spec, const std::string& path, const PassShape& shape,
                   const AdapterLoadOf& adapters);

class GatedMlp {
 public:
  GatedMlp(const MlpSpec& spec, const WeightScope& weights);

  /// Kept between forward and backward: the gated product is made again.
  struct Saved {
    at::Tensor gate_NF, up_NF;
  };

  /// In the order of the forward pass.
  std::vector<LinearGroup*> linear_groups() { return {&gate_up_, &down_proj_}; }

  at::Tensor forward(const at::Tensor& x_ND, const SequenceContext& context, Saved& saved);
  /// Uses up `saved`. dx_ND (undefined) becomes the gradient of x, if `need_dx`.
  void backward(const RebuildInput& input_ND, const at::Tensor& dout_ND,
                const SequenceContext& context, Saved& saved, at::Tensor& dx_ND, bool need_dx);

 private:
  kernels::Activation activation_;
  LinearGroup gate_up_, down_proj_;
};

}  // namespace lora_dist
