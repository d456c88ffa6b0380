#include "core/sharding.hpp"

#include "core/error.hpp"

namespace lora_dist {

const char* sharding_name(Sharding sharding) {
  switch (sharding) {
    case Sharding::none:
      return "none";
    case Sharding::shared:
      return "shared";
    case Sharding::hybrid:
      return "hybrid";
    case Sharding::full:
      return "full";
  }
  return "";
}

Sharding resolve_sharding(const std::string& asked, bool on_gpu, const HostLayout& ranks) {
  if (on_gpu) {
    if (asked == "auto" || asked == "none") return Sharding::none;
    throw ConfigError({.where = "sharding",
                       .found = fmt::format("'{}' on a GPU", asked),
                       .expected = "none or auto: this build gathers in host memory only",
                       .fix = "set sharding: auto, or device: cpu"});
  }
  if (asked == "none") return Sharding::none;
  const bool alone = ranks.host_of.size() == 1;
  if (asked == "full" && !alone) return Sharding::full;
  const bool one_rank_per_host = ranks.num_hosts == static_cast<int>(ranks.host_of.size());
  if (asked == "hybrid" && !one_rank_per_host) return Sharding::hybrid;
  return Sharding::shared;
}

std::vector<int> gather_group(Sharding sharding, const HostLayout& ranks, int rank) {
  std::vector<int> group;
  for (int other = 0; other < static_cast<int>(ranks.host_of.size()); ++other) {
    const bool belongs =
        sharding == Sharding::full ||
        (sharding == Sharding::hybrid && ranks.host_of[other] == ranks.host_of[rank]);
    if (belongs || other == rank) group.push_back(other);
  }
  return group;
}

}  // namespace lora_dist
