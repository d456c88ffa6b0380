// What a run will cost, computed before anything is allocated: parameters, memory of a rank, bytes
// on the wire, arithmetic.
//
// Memory is memory_plan.hpp's, the time of a step step_cost.hpp's; whether it fits says fit.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/planning/memory_plan.hpp"
#include "core/planning/sharding.hpp"
#include "core/planning/step_cost.hpp"
#include "core/ranks/host_layout.hpp"
#include "core/sockets/weight_source.hpp"

namespace lora_dist {

/// On a GPU, in place of the program's memory: the context and the libraries' kernels. Between
/// 0.5 and 1 GiB; assumed.
inline constexpr int64_t kGpuContextBytes = int64_t{768} << 20;

struct PlanRequest {
  const ModelOutline& model;
  std::vector<std::string> targets;  // module paths that receive an adapter
  AdapterConfig adapter;
  int64_t batch_size = 4, tokens = 512;  // of a micro-batch; tokens is the longest sequence
  int64_t compute_bytes = 4;             // of an activation
  int64_t product_bytes = 4;             // of the numbers that are multiplied
  std::string optimizer = "adamw";
  const WeightSource& base;  // names, formats and shapes; nothing is read
  bool recompute_blocks = false;
  bool saves_checkpoints = true;
  bool keeps_best = false;  // load_best_model_at_end
  // The program itself, in the memory of a host: launcher/run/memory measures it. On a GPU
  // kGpuContextBytes stands in its place.
  int64_t program_bytes = 0;
  HostLayout ranks = HostLayout::in_blocks(/*world_size=*/1, /*num_hosts=*/1);
  int64_t slots_per_step = 1;  // of all ranks
  bool deterministic = true;
  Sharding sharding = Sharding::shared;
  bool on_gpu = false;  // memory is then the GPU's
  bool cuda_graphs = false;
  int rank = 0;  // whose bytes are counted
};

struct RunPlan {
  int64_t base_parameters = 0, trainable_parameters = 0;
  MemoryPlan memory;
  int64_t mapped_bytes = 0;  // of memory.weights: pages of files, one copy for all ranks of a host
  // Bytes that the rank sends in a step without evaluation or hash check, as metrics.jsonl counts
  // them. No rank sends more than rank 0 does, but one whose neighbour in the ring is on another
  // host sends more to other hosts.
  int64_t comm_bytes_per_step = 0;
  int64_t comm_bytes_inter_node_per_step = 0;  // the part of comm_bytes_per_step to other hosts
  // The part of comm_bytes_per_step that is frozen weights: for each round of micro-batches (G - 1)
  // slices of every unit that the pass runs, with G ranks in a group. An evaluation sends more.
  int64_t gather_bytes_per_step = 0;
  int64_t gather_bytes_inter_node_per_step = 0;
  // To other hosts by all ranks of the host that sends most there.
  int64_t host_bytes_inter_node_per_step = 0;
  StepWork work;

  /// What the rank has to hold: without mapped weights, whose pages the kernel can drop and read
  /// again.
  int64_t held_bytes() const { return memory.total() - mapped_bytes; }
};

RunPlan plan_run(const PlanRequest& request);

/// The micro-batches of one optimiser step over all ranks, by the convention of design 1.3.
/// Errors  ConfigError: more ranks than micro-batches.
int64_t slots_per_step(const Config& config, int world_size);

}  // namespace lora_dist
