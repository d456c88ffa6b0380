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
  StoredWeight get() const { return source_->acquire(index_); }
  /// A norm or a bias. Errors  ModelError: it is packed.
  at::Tensor vector() const;
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
  const FrozenWeight& weight() const { return weight_; }
  const FrozenWeight& bias() const { return bias_; }  // may be undefined

  /// y_NO += x W^T + bias; an undefined y_NO is made.
  void forward(const at::Tensor& x_NI, at::Tensor& y_NO) const;
  /// dx_NI += dy W; an undefined dx_NI is made.
  void backward(const at::Tensor& dy_NO, at::Tensor& dx_NI) const;

 private:
  std::string name_;
  FrozenWeight weight_, bias_;
};

/// What a branch runs with: the rows of the micro-batch that are its own, and its weight.
struct BranchInput {
  const at::Tensor& x_NI;
  double weight;
  const PassContext& pass;
};

/// One adapter's share of the layers of a group, so that what only depends on their common input is
/// computed once. Keeps nothing between forward and backward: what it needs again it rebuilds from
/// x, which costs a product of its low rank.
///
/// It may add a delta before the base multiplies, change the sum of base and deltas behind it, or
/// both: LoRA adds, IA3 scales what came out, DoRA adds and then scales each output.
class AdapterBranch {
 public:
  virtual ~AdapterBranch() = default;
  /// Adds its deltas to y[l] (N, O_l) of the layers it sits on; an undefined one is made.
  virtual void forward(const BranchInput& in, std::vector<at::Tensor>& y) = 0;
  /// From dy[l] (N, O_l), adds to its own gradients, and to dx_NI if `need_dx`; an undefined one is
  /// made.
  virtual void backward(const BranchInput& in, const std::vector<at::Tensor>& dy, at::Tensor& dx_NI,
                        bool need_dx) = 0;

  virtual bool acts_after() const { return false; }
  /// Changes y[l] (N, O_l), the base's output with its bias and all deltas, in place.
  virtual void after(const BranchInput& in, std::vector<at::Tensor>& y) { (void)in, (void)y; }
  /// Comes before backward(). `y` is what after() found; dy[l] becomes the gradient of it, in
  /// place. Adds to its own gradients, and where after() reads x to dx_NI as backward() does.
  virtual void backward_after(const BranchInput& in, const std::vector<at::Tensor>& y,
                              std::vector<at::Tensor>& dy, at::Tensor& dx_NI, bool need_dx) {
    (void)in, (void)y, (void)dy, (void)dx_NI, (void)need_dx;
  }

  /// Where its own gradients end in the flat buffer of its adapter, in elements.
  virtual int64_t end_of_gradients() const = 0;
  virtual bool sits_on(size_t l) const = 0;
  /// Changes the weight or bias (fp32 copies) of a layer that it sits on, so that the layer alone
  /// computes what layer and branch do. A branch that does not act after adds to the weight, which
  /// may then be the sum of other deltas, and leaves the bias.
  virtual void merge_weight(size_t l, at::Tensor weight_OI, double weight) const = 0;
  virtual void merge_bias(size_t l, at::Tensor bias_O, double weight) const {
    (void)l, (void)bias_O, (void)weight;
  }
};

/// Adapters come first and the frozen layers add to what they left: a large product adds as fast as
/// it writes, a product of low rank is as slow as the memory it reads and writes. Behind both come
/// the branches that act after.
///
/// A family may hold several projections in one layer (Phi-3), whose product is then cut into views
/// of `widths` columns; either way outputs are asked for one by one.
class LinearGroup {
 public:
  /// Without `widths`, one output for each layer.
  explicit LinearGroup(std::vector<Linear> linears, std::vector<int64_t> widths = {})
      : linears_(std::move(linears)), widths_(std::move(widths)) {}

  const std::vector<Linear>& linears() const { return linears_; }
  /// `branch` is not owned; an adapter outlives the model's use. Passes call for it by `id`, which
  /// no other adapter of the model has.
  void attach(int id, AdapterBranch* branch, double weight);
  bool has_adapter() const { return !attached_.empty(); }
  bool has_adapter(int id) const;
  bool has_adapter_on(size_t l) const;
  /// The end of the part of the flat buffer that the group's adapters write; 0 without adapters.
  int64_t end_of_gradients() const;
  /// The weight or bias of layer `l` with all adapters merged in, fp32. Those that act after come
  /// last, as in a pass.
  at::Tensor merged_weight(size_t l, const at::Tensor& weight_OI) const;
  at::Tensor merged_bias(size_t l, const at::Tensor& bias_O) const;

  /// One (N, width) tensor per output.
  std::vector<at::Tensor> forward(const at::Tensor& x_NI, const PassContext& pass) const;
  /// `gradients` has the layout of forward's result. Adapter gradients, and dx_NI += the layers'
  /// and the adapters' share if `need_dx`; an undefined dx_NI is made.
  void backward(const at::Tensor& x_NI, const std::vector<at::Tensor>& gradients, at::Tensor& dx_NI,
                bool need_dx, const PassContext& pass) const;

 private:
  struct Attached {
    int id;
    AdapterBranch* branch;
    double weight;
  };
  class Run;

  bool is_fused() const { return linears_.size() < widths_.size(); }
  /// The branches that `pass` calls for.
  std::vector<Run> runs_of(const PassContext& pass, const at::Tensor& x_NI) const;
  /// Deltas and the layers, before what acts after.
  std::vector<at::Tensor> sums(const at::Tensor& x_NI, const std::vector<Run>& runs) const;
  /// dy behind the branches that act after becomes that before them.
  void backward_after(const at::Tensor& x_NI, const std::vector<Run>& runs,
                      std::vector<at::Tensor>& dy, at::Tensor& dx_NI, bool need_dx) const;

  std::vector<Linear> linears_;
  std::vector<int64_t> widths_;
  std::vector<Attached> attached_;
};

/// Every adapter that `pass` names sits on one of `groups`; another one is our own bug.
void require_attached(const std::vector<LinearGroup*>& groups, const PassContext& pass);

}  // namespace lora_dist
