#include "core/models/linear.hpp"

#include "core/trace.hpp"

namespace lora_dist {

at::Tensor Linear::forward(const at::Tensor& x_NI, const PassContext& pass) const {
  const trace::Span span("linear forward");
  at::Tensor y_NO = ops::product(x_NI, weight_.get());
  if (bias_.defined()) y_NO.add_(bias_.get());
  for (AdapterBranch* branch : branches_) branch->forward(x_NI, y_NO, pass);
  return y_NO;
}

void Linear::backward(const at::Tensor& x_NI, const at::Tensor& dy_NO, at::Tensor& dx_NI,
                      bool need_dx, const PassContext& pass) const {
  const trace::Span span("linear backward");
  if (need_dx) ops::add_product_transposed(dx_NI, dy_NO, weight_.get());
  for (AdapterBranch* branch : branches_) branch->backward(x_NI, dy_NO, dx_NI, need_dx, pass);
}

at::Tensor Linear::merged_delta() const {
  at::Tensor sum_OI = at::zeros({out_features(), in_features()}, at::kFloat);
  for (const AdapterBranch* branch : branches_) sum_OI.add_(branch->merged_delta());
  return sum_OI;
}

}  // namespace lora_dist
