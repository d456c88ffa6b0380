#include "core/optimizers/rates.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace lora_dist {

std::vector<at::Tensor> RateShare::parts_of(const at::Tensor& flat_P) const {
  std::vector<at::Tensor> parts;
  for (const auto& [first, end] : ranges) parts.push_back(flat_P.narrow(0, first, end - first));
  return parts;
}

std::vector<RateShare> shares_by_rate(const std::vector<ParameterGroup>& groups,
                                      int64_t num_elements) {
  if (groups.empty()) return {{1, {{0, num_elements}}}};
  std::vector<RateShare> shares;
  int64_t covered = 0;
  for (const ParameterGroup& group : groups) {
    LD_CHECK(group.first == covered, "groups of parameters follow each other");
    covered = group.end;
    auto share = std::find_if(shares.begin(), shares.end(), [&](const RateShare& known) {
      return known.factor == group.rate_factor;
    });
    if (share == shares.end()) share = shares.insert(shares.end(), {group.rate_factor, {}});
    share->ranges.emplace_back(group.first, group.end);
  }
  LD_CHECK(covered == num_elements, "groups of parameters cover all of them");
  return shares;
}

}  // namespace lora_dist
