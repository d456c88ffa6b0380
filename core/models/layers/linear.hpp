// Frozen linear layers that read one input, and the adapters that sit on them.
//
// Shapes: N rows, I in features, O_l out features of layer l of the group.
#pragma once

#include <string>
#include <vector>

#include "core/ops/ops.hpp"
#include "core/sockets/weight_source.hpp"
#include "core/training/pass.hpp"

namespace lora_dist {

/// A handle to a stored weight: materialised when it is needed and dropped after use, so that a
/// sharded source may gather it for the forward and again for the backward pass.
class FrozenWeight {
 public:
  FrozenWeight() = default;
  FrozenWeight(WeightSource& source, size_t index) : source_(&source), index_(index) {}
  bool defined() const { return source_ != nullptr; }
  at::Tensor get() const { return source_->acquire(index_); }
  const WeightInfo& info() const { return source_->weights()[index_]; }

 private:
  WeightSource* source_ = nullptr;
  size_t index_ = 0;
};

/// One frozen layer.
class Linear {
 public:
  Linear(std::string name, FrozenWeight weight, FrozenWeight bias)
      : name_(std::move(name)), weight_(weight), bias_(bias) {}

  /// The module path in the Hugging Face model: "model.layers.0.self_attn.q_proj".
  const std::string& name() const { return name_; }
  int64_t in_features() const { return weight_.info().shape[1]; }
  int64_t out_features() const { return weight_.info().shape[0]; }

  /// y_NO += x W^T + bias; an undefined y_NO is made.
  void forward(const at::Tensor& x_NI, at::Tensor& y_NO) const;
  /// dx_NI += dy W; an undefined dx_NI is made.
  void backward(const at::Tensor& dy_NO, at::Tensor& dx_NI) const;

 private:
  std::string name_;
  FrozenWeight weight_, bias_;
};

/// One adapter's share of the layers of a group, so that what only depends on their common input is
/// computed once. Keeps nothing between forward and backward: what it needs again it rebuilds from
/// x, which costs a product of its low rank.
class AdapterBranch {
 public:
  virtual ~AdapterBranch() = default;
  /// Adds its deltas to y[l] (N, O_l) of the layers it sits on; an undefined one is made.
  virtual void forward(const at::Tensor& x_NI, std::vector<at::Tensor>& y,
                       const PassContext& pass) = 0;
  /// From dy[l] (N, O_l), adds to its own gradients, and to dx_NI if `need_dx`; an undefined one is
  /// made.
  virtual void backward(const at::Tensor& x_NI, const std::vector<at::Tensor>& dy,
                        at::Tensor& dx_NI, bool need_dx, const PassContext& pass) = 0;
  /// Where its own gradients end in the flat buffer of its adapter, in elements.
  virtual int64_t end_of_gradients() const = 0;
  virtual bool sits_on(size_t l) const = 0;
  /// Adds to delta_OI (fp32) what merging adds to the weight of layer `l`.
  virtual void add_merged_delta(size_t l, at::Tensor delta_OI) const = 0;
};

/// Adapters come first and the frozen layers add to what they left: a large product adds as fast as
/// it writes, a product of low rank is as slow as the memory it reads and writes.
///
/// A family may hold several projections in one layer (Phi-3), whose product is then cut into views
/// of `widths` columns; either way outputs are asked for one by one.
class LinearGroup {
 public:
  /// Without `widths`, one output for each layer.
  explicit LinearGroup(std::vector<Linear> linears, std::vector<int64_t> widths = {})
      : linears_(std::move(linears)), widths_(std::move(widths)) {}

  const std::vector<Linear>& linears() const { return linears_; }
  /// `branch` is not owned; an adapter outlives the model's use.
  void attach(AdapterBranch* branch) { branches_.push_back(branch); }
  bool has_adapter() const { return !branches_.empty(); }
  bool has_adapter_on(size_t l) const;
  /// Of its adapters; 0 without any.
  int64_t end_of_gradients() const;
  /// Sum of the deltas of all adapters to layer `l` (O, I), fp32.
  at::Tensor merged_delta(size_t l) const;

  /// One (N, width) tensor per output.
  std::vector<at::Tensor> forward(const at::Tensor& x_NI, const PassContext& pass) const;
  /// `gradients` has the layout of forward's result. Adapter gradients, and dx_NI += the layers'
  /// and the adapters' share if `need_dx`; an undefined dx_NI is made.
  void backward(const at::Tensor& x_NI, const std::vector<at::Tensor>& gradients, at::Tensor& dx_NI,
                bool need_dx, const PassContext& pass) const;

 private:
  bool is_fused() const { return linears_.size() < widths_.size(); }

  std::vector<Linear> linears_;
  std::vector<int64_t> widths_;
  std::vector<AdapterBranch*> branches_;
};

}  // namespace lora_dist
