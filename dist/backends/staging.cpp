#include "dist/backends/staging.hpp"

namespace lora_dist {
namespace {

class StagedPending final : public Pending {
 public:
  StagedPending(std::unique_ptr<Pending> pending,
                std::vector<std::pair<at::Tensor, at::Tensor>> results)
      : pending_(std::move(pending)), results_(std::move(results)) {}

  bool wait_until(Deadline deadline) override {
    if (!pending_->wait_until(deadline)) return false;
    for (const auto& [wanted, copy] : results_) wanted.copy_(copy);
    results_.clear();
    return true;
  }

 private:
  std::unique_ptr<Pending> pending_;
  std::vector<std::pair<at::Tensor, at::Tensor>> results_;
};

}  // namespace

at::Tensor Staging::input(const at::Tensor& tensor) const {
  return fits(tensor) ? tensor : tensor.to(*memory_);
}

at::Tensor Staging::output(const at::Tensor& tensor) {
  if (fits(tensor)) return tensor;
  const at::Tensor copy = at::empty_like(tensor, tensor.options().device(*memory_));
  results_.emplace_back(tensor, copy);
  return copy;
}

at::Tensor Staging::in_place(const at::Tensor& tensor) {
  if (fits(tensor)) return tensor;
  const at::Tensor copy = tensor.to(*memory_);
  results_.emplace_back(tensor, copy);
  return copy;
}

std::unique_ptr<Pending> Staging::bring_back(std::unique_ptr<Pending> pending) {
  if (results_.empty()) return pending;
  return std::make_unique<StagedPending>(std::move(pending), std::move(results_));
}

}  // namespace lora_dist
