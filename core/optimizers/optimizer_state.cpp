#include "core/optimizers/optimizer_state.hpp"

#include "core/base/error.hpp"

namespace lora_dist {

void restore_tensors(const NamedTensors& state,
                     const std::vector<std::pair<const char*, at::Tensor>>& targets,
                     const std::string& where) {
  const std::map<std::string, at::Tensor> given(state.begin(), state.end());
  for (const auto& [name, target] : targets) {
    const auto found = given.find(name);
    if (found == given.end() || found->second.sizes() != target.sizes() ||
        found->second.scalar_type() != target.scalar_type()) {
      throw ModelError({.where = where,
                        .found = fmt::format(
                            "optimizer state '{}' {}", name,
                            found == given.end() ? "is missing" : "has another shape or format"),
                        .expected = fmt::format("{} values", target.numel()),
                        .fix = "resume with the same optimizer, lora_rank and target_modules"});
    }
    target.copy_(found->second);
  }
}

}  // namespace lora_dist
