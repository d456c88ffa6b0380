// One frozen linear layer and the adapters that sit on it.
//
// Shapes: N rows, I and O in and out features.
#pragma once

#include <string>
#include <vector>

#include "core/ops/ops.hpp"
#include "core/weight_source.hpp"

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

/// What an adapter may ask about the micro-batch it runs in.
struct PassContext {
  bool training = false;  // dropout is drawn
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t slot = 0;
};

/// One adapter's share of one linear layer. Keeps nothing between forward and backward: what it
/// needs again it rebuilds from x, which costs a product of its low rank.
class AdapterBranch {
 public:
  virtual ~AdapterBranch() = default;
  /// Adds its delta to y_NO = base(x_NI), in place.
  virtual void forward(const at::Tensor& x_NI, at::Tensor& y_NO, const PassContext& pass) = 0;
  /// Adds to its own gradients, and to dx_NI if `need_dx` (which is defined then).
  virtual void backward(const at::Tensor& x_NI, const at::Tensor& dy_NO, at::Tensor& dx_NI,
                        bool need_dx, const PassContext& pass) = 0;
  /// What merging adds to the base weight (O, I), fp32.
  virtual at::Tensor merged_delta() const = 0;
};

class Linear {
 public:
  Linear(std::string name, FrozenWeight weight, FrozenWeight bias)
      : name_(std::move(name)), weight_(weight), bias_(bias) {}

  /// The module path in the Hugging Face model: "model.layers.0.self_attn.q_proj".
  const std::string& name() const { return name_; }
  int64_t in_features() const { return weight_.info().shape[1]; }
  int64_t out_features() const { return weight_.info().shape[0]; }
  const FrozenWeight& weight() const { return weight_; }

  /// `branch` is not owned; an adapter outlives the model's use.
  void attach(AdapterBranch* branch) { branches_.push_back(branch); }
  void detach_all() { branches_.clear(); }
  /// Sum of the deltas of all adapters (O, I), fp32.
  at::Tensor merged_delta() const;
  bool has_adapter() const { return !branches_.empty(); }

  at::Tensor forward(const at::Tensor& x_NI, const PassContext& pass) const;
  /// Adapter gradients, and dx_NI += dy W + the adapters' share if `need_dx`; an undefined dx_NI is
  /// made.
  void backward(const at::Tensor& x_NI, const at::Tensor& dy_NO, at::Tensor& dx_NI, bool need_dx,
                const PassContext& pass) const;

 private:
  std::string name_;
  FrozenWeight weight_, bias_;
  std::vector<AdapterBranch*> branches_;
};

}  // namespace lora_dist
