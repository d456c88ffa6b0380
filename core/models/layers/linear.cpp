#include "core/models/layers/linear.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"

namespace lora_dist {

at::Tensor FrozenWeight::vector() const {
  const StoredWeight weight = get();
  if (!weight.is_plain())
    throw ModelError(
        {.where = source_->location(),
         .found = fmt::format("'{}' is stored as {}", info().name, info().format->name),
         .expected = "a plain format: it is not multiplied",
         .fix = "take a base that stores it otherwise"});
  return weight.as_tensor();
}

void Linear::forward(const at::Tensor& x_NI, at::Tensor& y_NO) const {
  const trace::Span span("linear forward");
  ops::add_product(y_NO, x_NI, weight_.get());
  if (bias_.defined()) y_NO.add_(bias_.vector());
}

void Linear::backward(const at::Tensor& dy_NO, at::Tensor& dx_NI) const {
  const trace::Span span("linear backward");
  ops::add_product_transposed(dx_NI, dy_NO, weight_.get());
}

/// A branch at work in a pass, on all rows of x or on some of them.
class LinearGroup::Run {
 public:
  Run(AdapterBranch& branch, double weight, const at::Tensor& x_NI, const PassContext& pass,
      int64_t first, int64_t end)
      : branch_(branch),
        weight_(weight),
        num_rows_(x_NI.size(0)),
        first_(first),
        count_(end - first),
        x_(rows_of(x_NI)),
        pass_(pass) {}

  AdapterBranch& branch() const { return branch_; }
  BranchInput input() const { return {x_, weight_, pass_}; }
  bool has_all_rows() const { return count_ == num_rows_; }
  at::Tensor rows_of(const at::Tensor& all) const {
    return has_all_rows() || !all.defined() ? all : all.narrow(0, first_, count_);
  }
  std::vector<at::Tensor> rows_of(const std::vector<at::Tensor>& all) const {
    std::vector<at::Tensor> own;
    for (const at::Tensor& tensor : all) own.push_back(rows_of(tensor));
    return own;
  }

 private:
  AdapterBranch& branch_;
  double weight_;
  int64_t num_rows_, first_, count_;
  at::Tensor x_;
  const PassContext& pass_;
};

void LinearGroup::attach(int id, AdapterBranch* branch, double weight) {
  LD_CHECK(!has_adapter(id), fmt::format("adapter {} is attached already", id));
  attached_.push_back({id, branch, weight});
}

bool LinearGroup::has_adapter(int id) const {
  return std::any_of(attached_.begin(), attached_.end(),
                     [&](const Attached& one) { return one.id == id; });
}

bool LinearGroup::has_adapter_on(size_t l) const {
  return std::any_of(attached_.begin(), attached_.end(),
                     [&](const Attached& one) { return one.branch->sits_on(l); });
}

int64_t LinearGroup::end_of_gradients() const {
  int64_t end = 0;
  for (const Attached& one : attached_) end = std::max(end, one.branch->end_of_gradients());
  return end;
}

std::vector<LinearGroup::Run> LinearGroup::runs_of(const PassContext& pass,
                                                   const at::Tensor& x_NI) const {
  const int64_t num_rows = x_NI.size(0);
  std::vector<Run> runs;
  if (!pass.adapters) {
    for (const Attached& one : attached_)
      runs.emplace_back(*one.branch, one.weight, x_NI, pass, 0, num_rows);
    return runs;
  }
  for (const ActiveAdapter& active : *pass.adapters) {
    const int64_t end = active.end_row == ActiveAdapter::kLastRow ? num_rows : active.end_row;
    LD_CHECK(0 <= active.first_row && active.first_row <= end && end <= num_rows,
             fmt::format("rows {} to {} of {}", active.first_row, end, num_rows));
    if (active.first_row == end) continue;
    for (const Attached& one : attached_)
      if (one.id == active.id)
        runs.emplace_back(*one.branch, active.weight, x_NI, pass, active.first_row, end);
  }
  return runs;
}

std::vector<at::Tensor> LinearGroup::sums(const at::Tensor& x_NI,
                                          const std::vector<Run>& runs) const {
  std::vector<at::Tensor> outputs(linears_.size());
  for (const Run& run : runs) {
    if (run.has_all_rows()) {
      run.branch().forward(run.input(), outputs);
      continue;
    }
    for (size_t l = 0; l < linears_.size(); ++l)
      if (run.branch().sits_on(l) && !outputs[l].defined())
        outputs[l] = at::zeros({x_NI.size(0), linears_[l].out_features()}, x_NI.options());
    std::vector<at::Tensor> own = run.rows_of(outputs);
    run.branch().forward(run.input(), own);
  }
  for (size_t l = 0; l < linears_.size(); ++l) linears_[l].forward(x_NI, outputs[l]);
  return outputs;
}

std::vector<at::Tensor> LinearGroup::forward(const at::Tensor& x_NI,
                                             const PassContext& pass) const {
  const std::vector<Run> runs = runs_of(pass, x_NI);
  std::vector<at::Tensor> outputs = sums(x_NI, runs);
  for (const Run& run : runs) {
    if (!run.branch().acts_after()) continue;
    std::vector<at::Tensor> own = run.rows_of(outputs);
    run.branch().after(run.input(), own);
  }
  return is_fused() ? outputs.front().split_with_sizes(widths_, 1) : outputs;
}

// What each of them found is made again: the layers' products once more, and a copy for each.
void LinearGroup::backward_after(const at::Tensor& x_NI, const std::vector<Run>& runs,
                                 std::vector<at::Tensor>& dy, at::Tensor& dx_NI,
                                 bool need_dx) const {
  std::vector<at::Tensor> y = sums(x_NI, runs);
  std::vector<std::pair<const Run*, std::vector<at::Tensor>>> found;
  for (const Run& run : runs) {
    if (!run.branch().acts_after()) continue;
    std::vector<at::Tensor> own = run.rows_of(y), before;
    for (const at::Tensor& one : own) before.push_back(one.clone());
    found.emplace_back(&run, std::move(before));
    run.branch().after(run.input(), own);
  }
  for (at::Tensor& one : dy) one = one.clone();  // the caller's stays as it is
  std::reverse(found.begin(), found.end());
  for (const auto& [run, before] : found) {
    std::vector<at::Tensor> own_dy = run->rows_of(dy);
    at::Tensor own_dx = run->rows_of(dx_NI);
    run->branch().backward_after(run->input(), before, own_dy, own_dx, need_dx);
    if (run->has_all_rows()) dx_NI = own_dx;
  }
}

void LinearGroup::backward(const at::Tensor& x_NI, const std::vector<at::Tensor>& gradients,
                           at::Tensor& dx_NI, bool need_dx, const PassContext& pass) const {
  std::vector<at::Tensor> dy =
      is_fused() ? std::vector<at::Tensor>{at::cat(gradients, 1)} : gradients;
  const std::vector<Run> runs = runs_of(pass, x_NI);
  const auto has_some = [&](const auto& holds) {
    return std::any_of(runs.begin(), runs.end(), holds);
  };
  // A branch on some of the rows cannot make what all rows need.
  if (need_dx && !dx_NI.defined() && has_some([](const Run& run) { return !run.has_all_rows(); }))
    dx_NI = at::zeros_like(x_NI);
  if (has_some([](const Run& run) { return run.branch().acts_after(); }))
    backward_after(x_NI, runs, dy, dx_NI, need_dx);
  for (const Run& run : runs) {
    at::Tensor own_dx = run.rows_of(dx_NI);
    run.branch().backward(run.input(), run.rows_of(dy), own_dx, need_dx);
    if (run.has_all_rows()) dx_NI = own_dx;
  }
  if (!need_dx) return;
  for (size_t l = 0; l < linears_.size(); ++l) linears_[l].backward(dy[l], dx_NI);
}

// Deltas are added up first: they are small beside the weight, and so are their roundings.
at::Tensor LinearGroup::merged_weight(size_t l, const at::Tensor& weight_OI) const {
  const at::Tensor delta_OI = at::zeros(weight_OI.sizes(), at::kFloat);
  for (const Attached& one : attached_)
    if (!one.branch->acts_after() && one.branch->sits_on(l))
      one.branch->merge_weight(l, delta_OI, one.weight);
  const at::Tensor merged_OI = weight_OI.to(at::kFloat) + delta_OI;
  for (const Attached& one : attached_)
    if (one.branch->acts_after() && one.branch->sits_on(l))
      one.branch->merge_weight(l, merged_OI, one.weight);
  return merged_OI;
}

at::Tensor LinearGroup::merged_bias(size_t l, const at::Tensor& bias_O) const {
  const at::Tensor merged_O = bias_O.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  for (const Attached& one : attached_)
    if (one.branch->acts_after() && one.branch->sits_on(l))
      one.branch->merge_bias(l, merged_O, one.weight);
  return merged_O;
}

void require_attached(const std::vector<LinearGroup*>& groups, const PassContext& pass) {
  if (!pass.adapters) return;
  for (const ActiveAdapter& active : *pass.adapters)
    LD_CHECK(std::any_of(groups.begin(), groups.end(),
                         [&](const LinearGroup* group) { return group->has_adapter(active.id); }),
             fmt::format("adapter {} is not attached", active.id));
}

}  // namespace lora_dist
