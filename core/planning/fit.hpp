// Whether a run fits into memory, and the nearest setting that does.
//
// A setting is what changes memory and not what is learnt: whether blocks are rebuilt, the size of
// a micro-batch at the same global batch, where the frozen base lives. What the config leaves open
// (gradient_checkpointing: auto, sharding: auto) is chosen here; what it fixes is only proposed.
// Where none of it is enough, more GPUs are proposed if the base is what does not fit, and a
// shorter max_seq_length, which does change what is learnt, if activations are.
//
// Mapped weights are pages of files: the kernel drops them when memory is short and reads them
// again. So they never make a run fail to fit, they only make one that keeps them better.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/config/config.hpp"
#include "core/planning/plan.hpp"

namespace lora_dist {

struct Setting {
  Sharding sharding = Sharding::shared;
  bool recompute_blocks = false;
  int64_t batch_size = 1;
  int num_ranks = 0, num_hosts = 0;  // 0: as the run has them
  int64_t max_seq_length = 0;        // 0: as the config says
};

struct FitRequest {
  PlanRequest plan;  // as the config says; a Setting replaces what it holds
  const StepsConfig& steps;
  std::vector<Sharding> shardings;            // that the config leaves open, cheapest first
  std::vector<Sharding> more_shardings = {};  // that a proposal may name
  int most_ranks = 0;                         // that a proposal may name; 0: no more than there are
  int64_t num_samples = std::numeric_limits<int64_t>::max();  // no micro-batch holds more
  int64_t available_bytes = 0;                                // to one rank
};

struct Proposal {
  Setting setting;
  RunPlan plan;
};

struct Fit {
  Setting setting;  // of those that the config leaves open the cheapest that fits; else the one
                    // that needs least
  RunPlan plan;     // of it
  bool fits = false;
  bool keeps_base = false;  // mapped weights stay in memory too
  // The first setting that fits, where this one does not: blocks rebuilt, then a smaller
  // batch_size, then another sharding, then more ranks, then a shorter max_seq_length. It leaves
  // some room: what the program itself takes is measured anew by every process.
  std::optional<Proposal> proposal;
  std::optional<RunPlan> least;  // where nothing fits: the leanest with the ranks there are
};

Fit find_fit(const FitRequest& request);

/// The keys to write for `setting` where the config says something else, with their values.
std::vector<std::pair<std::string, std::string>> changed_keys(const FitRequest& request,
                                                              const Setting& setting);

/// "needs 31.2 GiB per rank, 23.4 GiB are free; batch_size: 2 with gradient_checkpointing: true
/// would need 12.1 GiB", for a fit that does not fit; where nothing does, how much is missing and
/// what takes it. `host` says whose memory it is; may be empty.
Fault memory_fault(const FitRequest& request, const Fit& fit, const std::string& host);

}  // namespace lora_dist
