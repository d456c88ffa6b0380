#include "core/planning/sharding.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace lora_dist {

const Registry<ShardingEntry>& shardings() {
  static const Registry<ShardingEntry> registry(
      "sharding", {{"none", {Sharding::none, "a copy per rank"}},
                   {"shared", {Sharding::shared, "one mapped copy per host, on a CPU"}},
                   {"hybrid", {Sharding::hybrid, "cut over the ranks of a host"}},
                   {"full", {Sharding::full, "cut over all ranks"}}});
  return registry;
}

const char* sharding_name(Sharding sharding) {
  for (const std::string_view name : shardings().names())
    if (shardings().at(name).sharding == sharding) return name.data();  // a literal
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

std::vector<Sharding> shardings_on_gpus(const std::string& asked, const HostLayout& ranks) {
  const auto world_size = static_cast<int>(ranks.host_of.size());
  std::vector<Sharding> open;
  if (asked == "auto" || asked == "none" || asked == "shared") open.push_back(Sharding::none);
  if ((asked == "auto" || asked == "hybrid") && ranks.num_hosts < world_size)
    open.push_back(Sharding::hybrid);
  if ((asked == "auto" || asked == "full") && world_size > 1) open.push_back(Sharding::full);
  if (open.empty()) open.push_back(Sharding::none);  // no other rank to share with
  return open;
}

std::vector<Sharding> shardings_that_hold_less(Sharding sharding, bool on_gpu,
                                               const HostLayout& ranks) {
  if (!on_gpu)
    return sharding == Sharding::shared ? std::vector<Sharding>{}
                                        : std::vector<Sharding>{Sharding::shared};
  std::vector<Sharding> less = shardings_on_gpus("auto", ranks);  // each holds less than the last
  const auto own = std::find(less.begin(), less.end(), sharding);
  if (own != less.end()) less.erase(less.begin(), own + 1);
  return less;
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
