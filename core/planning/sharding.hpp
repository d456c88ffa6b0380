// Where the frozen base lives (design 2.3): the key `sharding`, resolved for the ranks of a run.
#pragma once

#include <string>
#include <vector>

#include "core/base/registry.hpp"
#include "core/ranks/host_layout.hpp"

namespace lora_dist {

enum class Sharding {
  none,    // a copy of its own on each rank
  shared,  // one mapped copy per host (CPU)
  hybrid,  // cut over the ranks of a host
  full,    // cut over all ranks
};

struct ShardingEntry {
  Sharding sharding;
  std::string help;
};
/// The words of the key `sharding`, without auto.
const Registry<ShardingEntry>& shardings();
const char* sharding_name(Sharding sharding);
/// Whether layers are gathered while they run.
inline bool is_gathered(Sharding sharding) {
  return sharding == Sharding::hybrid || sharding == Sharding::full;
}

/// What `asked` (auto, none, shared, hybrid, full) means for these ranks. Where no rank has another
/// one to share with, nothing is gathered.
/// Errors  ConfigError: not to be had on a GPU.
Sharding resolve_sharding(const std::string& asked, bool on_gpu, const HostLayout& ranks);

/// What `asked` leaves open on GPUs, on paper: also what this build gathers in host memory only.
/// The cheapest first; never empty.
std::vector<Sharding> shardings_on_gpus(const std::string& asked, const HostLayout& ranks);

/// Others with which a rank holds less of the base than with `sharding`, for a proposal; the
/// cheapest first.
std::vector<Sharding> shardings_that_hold_less(Sharding sharding, bool on_gpu,
                                               const HostLayout& ranks);

/// The ranks whose slices make up the base of `rank`, ascending: itself alone where nothing is
/// gathered.
std::vector<int> gather_group(Sharding sharding, const HostLayout& ranks, int rank);

}  // namespace lora_dist
