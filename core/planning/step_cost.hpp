// How long a step takes, on paper: its arithmetic and its bytes over rates that somebody measured.
//
// FLOPs are those that LoRA needs: of frozen layers as they say themselves (core/models/layers), of
// an adapter parameter 6 per token. Elementwise work, optimizer and data
// count as none: a rate that was measured over whole steps contains them.
//
// Overlap as the code has it: the gather of a unit hides behind the unit that runs before it; a
// bucket of the gradients (tree_levels.hpp) behind what is left of the last backward pass, where
// that gathers nothing. The last bucket hides behind nothing. Latencies are left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/models/model.hpp"

namespace lora_dist {

struct FlopsRequest {
  const ModelProfile& model;
  int64_t trainable_parameters = 0;
  int64_t lowest_adapted_block = 0;  // below it there is no backward pass
  bool recompute_blocks = false;
};

/// FLOPs of one token, [unit of a pass] in the order of ModelOutline::units_of_pass(); their sum is
/// a step's.
std::vector<double> flops_of_token(const FlopsRequest& request);

/// What crosses links of either kind, as those see it who send most.
struct LinkBytes {
  int64_t of_rank = 0;  // by one rank to ranks of its host
  int64_t of_host = 0;  // by all ranks of one host to other hosts
};

/// A step of the rank that has most to do.
struct StepWork {
  int64_t num_micro_batches = 0;
  std::vector<double> flops = {};       // [unit of a pass] of a micro-batch
  std::vector<LinkBytes> gathers = {};  // [unit of a pass]; empty where nothing is gathered
  LinkBytes sums = {};                  // of gradients and losses
  int64_t num_backward_units = 0;       // of a pass, its last ones
  // Shares of the gradient: the bucket that is final first, and the one that is final last.
  double first_bucket = 1, last_bucket = 1;
  int world_size = 1;
  int64_t tokens = 0;  // of all ranks

  /// The arithmetic of a step, with that of blocks that are rebuilt.
  double total_flops() const;
};

/// Rates that somebody measured; 0 where nobody did.
struct MeasuredRates {
  double flops_per_s = 0;          // of a rank over whole steps
  double link_bytes_per_s = 0;     // that a rank sends to ranks of its host
  double network_bytes_per_s = 0;  // that a host sends to other hosts
  double step_deviation = 0;       // of a rank's step time, as a share of it; 0: nobody waits
};

struct StepTime {
  double compute_s = 0;
  double gather_s = 0;          // of all gathers
  double exposed_gather_s = 0;  // of these, what hides behind nothing
  double sums_s = 0;            // of all sums
  double exposed_sums_s = 0;    // of these, what goes on when the backward pass has ended
  double waiting_s = 0;         // for the slowest rank
  double step_s() const { return compute_s + exposed_gather_s + exposed_sums_s + waiting_s; }
  /// The share of a step in which a rank computes: 1 where it waits for nothing.
  double efficiency() const { return compute_s / step_s(); }
};

/// The rates that `work` takes and that nobody measured, as options of `plan`: "--link-gbs".
std::vector<std::string> missing_rates(const StepWork& work, const MeasuredRates& rates);
/// Nothing where a rate is missing.
std::optional<StepTime> step_time(const StepWork& work, const MeasuredRates& rates);

/// The mean of the largest of `count` standard normal numbers: how long the others wait for the
/// slowest rank, in deviations.
double mean_of_largest(int count);

}  // namespace lora_dist
