#include "core/models/layers/linear.hpp"

#include <algorithm>

#include "core/base/trace.hpp"

namespace lora_dist {

void Linear::forward(const at::Tensor& x_NI, at::Tensor& y_NO) const {
  const trace::Span span("linear forward");
  ops::add_product(y_NO, x_NI, weight_.get());
  if (bias_.defined()) y_NO.add_(bias_.get());
}

void Linear::backward(const at::Tensor& dy_NO, at::Tensor& dx_NI) const {
  const trace::Span span("linear backward");
  ops::add_product_transposed(dx_NI, dy_NO, weight_.get());
}

bool LinearGroup::has_adapter_on(size_t l) const {
  return std::any_of(branches_.begin(), branches_.end(),
                     [&](const AdapterBranch* branch) { return branch->sits_on(l); });
}

int64_t LinearGroup::end_of_gradients() const {
  int64_t end = 0;
  for (const AdapterBranch* branch : branches_) end = std::max(end, branch->end_of_gradients());
  return end;
}

std::vector<at::Tensor> LinearGroup::forward(const at::Tensor& x_NI,
                                             const PassContext& pass) const {
  std::vector<at::Tensor> outputs(linears_.size());
  for (AdapterBranch* branch : branches_) branch->forward(x_NI, outputs, pass);
  for (size_t l = 0; l < linears_.size(); ++l) linears_[l].forward(x_NI, outputs[l]);
  return is_fused() ? outputs.front().split_with_sizes(widths_, 1) : outputs;
}

void LinearGroup::backward(const at::Tensor& x_NI, const std::vector<at::Tensor>& gradients,
                           at::Tensor& dx_NI, bool need_dx, const PassContext& pass) const {
  const std::vector<at::Tensor> dy =
      is_fused() ? std::vector<at::Tensor>{at::cat(gradients, 1)} : gradients;
  for (AdapterBranch* branch : branches_) branch->backward(x_NI, dy, dx_NI, need_dx, pass);
  if (!need_dx) return;
  for (size_t l = 0; l < linears_.size(); ++l) linears_[l].backward(dy[l], dx_NI);
}

at::Tensor LinearGroup::merged_delta(size_t l) const {
  at::Tensor sum_OI =
      at::zeros({linears_[l].out_features(), linears_[l].in_features()}, at::kFloat);
  for (const AdapterBranch* branch : branches_) branch->add_merged_delta(l, sum_OI);
  return sum_OI;
}

}  // namespace lora_dist
