// What a run will cost, computed before anything is allocated: parameters, memory of a rank, steps,
// bytes on the wire.
//
// For the CPU path of this build; memory is memory_plan.hpp's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.hpp"
#include "core/host_layout.hpp"
#include "core/memory_plan.hpp"
#include "core/models/decoder_spec.hpp"
#include "core/sharding.hpp"
#include "core/weight_source.hpp"

namespace lora_dist {

struct PlanRequest {
  DecoderSpec spec;
  std::vector<std::string> targets;  // module paths that receive an adapter
  AdapterConfig adapter;
  int64_t batch_size = 4, tokens = 512;  // of a micro-batch; tokens is the longest sequence
  int64_t compute_bytes = 4;             // of an activation
  int64_t product_bytes = 4;             // of the numbers that are multiplied
  int64_t stored_bytes = 2;              // of a weight in its file
  std::string optimizer = "adamw";
  const WeightSource& base;  // names, dtypes and shapes; nothing is read
  bool recompute_blocks = false;
  bool saves_checkpoints = true;
  HostLayout ranks = HostLayout::in_blocks(/*world_size=*/1, /*num_hosts=*/1);
  int64_t slots_per_step = 1;  // of all ranks
  bool deterministic = true;
  Sharding sharding = Sharding::shared;
};

struct RunPlan {
  int64_t base_parameters = 0, trainable_parameters = 0;
  MemoryPlan memory;
  // Sent by rank 0 in a step without evaluation or hash check, as metrics.jsonl counts it: no rank
  // sends more, unless another one's neighbour in the ring is on another host.
  int64_t comm_bytes_per_step = 0;
  int64_t comm_bytes_inter_node_per_step = 0;  // of these, to other hosts
  // Of these, frozen weights: for each round of micro-batches (G - 1) slices of every unit that the
  // pass runs, with G ranks in a group. An evaluation sends more.
  int64_t gather_bytes_per_step = 0;
  int64_t gather_bytes_inter_node_per_step = 0;
};

RunPlan plan_run(const PlanRequest& request);

/// The micro-batches of one optimiser step over all ranks, by the convention of design 1.3.
/// Errors  ConfigError: more ranks than micro-batches.
int64_t slots_per_step(const Config& config, int world_size);

}  // namespace lora_dist
