#include "core/training/trainable_params.hpp"

#include <algorithm>
#include <exception>
#include <numeric>

#include "core/base/error.hpp"
#include "core/base/shape_text.hpp"

namespace lora_dist {
size_t TrainableParams::add(ModuleRole place, std::vector<int64_t> shape, double rate_factor) {
  LD_CHECK(!flat_.defined(), "tensors are added before allocate()");
  const int64_t count =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  entries_.push_back({std::move(place), std::move(shape), num_elements_, count, rate_factor});
  num_elements_ += count;
  return entries_.size() - 1;
}

void TrainableParams::allocate(at::Device device, bool gradient_stays) {
  gradient_stays_ = gradient_stays;
  flat_ = at::zeros({num_elements_}, at::TensorOptions().dtype(at::kFloat).device(device));
  gradient_ = at::zeros_like(flat_);
}

at::Tensor TrainableParams::view(size_t index) const {
  const Entry& entry = entries_[index];
  return flat_.narrow(0, entry.offset, entry.num_elements).view(entry.shape);
}

at::Tensor TrainableParams::gradient_view(size_t index) const {
  const Entry& entry = entries_[index];
  LD_CHECK(entry.end() <= gradient_end_, "this gradient is being summed already: " + entry.name());
  return gradient_.narrow(0, entry.offset, entry.num_elements).view(entry.shape);
}

at::Tensor TrainableParams::take_gradient() {
  at::Tensor taken = gradient_;
  if (gradient_stays_) {
    taken = gradient_.clone();
    gradient_.zero_();
  } else {
    gradient_ = at::zeros_like(flat_);
  }
  gradient_end_ = num_elements_;
  return taken;
}

std::vector<ParameterGroup> TrainableParams::groups() const {
  std::vector<ParameterGroup> groups;
  for (const Entry& entry : entries_) {
    if (groups.empty() || groups.back().rate_factor != entry.rate_factor)
      groups.push_back({entry.offset, entry.offset, entry.rate_factor});
    groups.back().end = entry.end();
  }
  return groups;
}

// The gradient is not cleared while an error is under way: the device may be what failed, so
// nothing is asked of it, and nothing is trained after it.
GradientLoan::~GradientLoan() {
  if (std::uncaught_exceptions() > 0) return;
  params_.gradient_.zero_();
  params_.gradient_end_ = params_.num_elements_;
}

NamedTensors TrainableParams::named_tensors() const {
  NamedTensors tensors;
  for (size_t i = 0; i < entries_.size(); ++i)
    tensors.emplace_back(entries_[i].name(), view(i).to(at::kCPU).clone());
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return tensors;
}

void TrainableParams::assign(const NamedTensors& tensors, const std::string& where) {
  std::map<std::string, at::Tensor> given(tensors.begin(), tensors.end());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const auto found = given.find(entries_[i].name());
    if (found == given.end()) {
      throw ModelError(
          {.where = where,
           .found = fmt::format("tensor '{}' is missing", entries_[i].name()),
           .expected = fmt::format("an adapter for the {} tensors of this run", entries_.size()),
           .fix = "use the same target_modules, or start a fresh adapter"});
    }
    if (found->second.sizes() != at::IntArrayRef(entries_[i].shape)) {
      throw ModelError({.where = where,
                        .found = fmt::format("'{}' is {}", entries_[i].name(),
                                             shape_text(found->second.sizes())),
                        .expected = fmt::format("{} (lora_rank and base of this run)",
                                                shape_text(entries_[i].shape)),
                        .fix = "set the same lora_rank and base_model"});
    }
    view(i).copy_(found->second);
    given.erase(found);
  }
  if (!given.empty()) {
    throw ModelError(
        {.where = where,
         .found = fmt::format("tensor '{}' has no place in this run", given.begin()->first),
         .expected = {},
         .fix = "use the same target_modules"});
  }
}

}  // namespace lora_dist
