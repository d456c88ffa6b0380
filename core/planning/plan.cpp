#include "core/planning/plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "core/adapters/adapter.hpp"
#include "core/base/error.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/planning/shard_layout.hpp"
#include "core/summing/tree_levels.hpp"

namespace lora_dist {
namespace {

int world_size_of(const PlanRequest& request) {
  return static_cast<int>(request.ranks.host_of.size());
}

int64_t adapter_parameters(const PlanRequest& request) {
  const AdapterKind& kind = adapters().at(request.adapter.method);
  int64_t total = 0;
  for (const std::string& target : request.targets) {
    const WeightRow* row = request.model.table().linear(target);
    LD_CHECK(row, "a target without a weight: " + target);
    total += kind.parameters(request.adapter, target, row->shape[0], row->shape[1]);
  }
  return total;
}

int64_t lowest_adapted_block(const PlanRequest& request) {
  return request.model.table().lowest_depth(request.targets, request.model.num_blocks());
}

AdapterLoadOf adapter_load(const PlanRequest& request) {
  const std::set<std::string> targets(request.targets.begin(), request.targets.end());
  const AdapterKind& kind = adapters().at(request.adapter.method);
  return [&request, &kind, targets](const std::vector<std::string>& modules, int64_t in_features,
                                    const PassShape& shape) {
    std::vector<std::string> adapted;
    for (const std::string& module : modules)
      if (targets.count(module)) adapted.push_back(module);
    return adapted.empty() ? AdapterLoad{}
                           : kind.load(request.adapter, adapted, in_features, shape);
  };
}

PassShape pass_shape(const PlanRequest& request) {
  return {.batch_size = request.batch_size,
          .tokens = request.tokens,
          .compute_bytes = request.compute_bytes,
          .product_bytes = request.product_bytes,
          .on_gpu = request.on_gpu,
          .deterministic = request.deterministic};
}

// The bytes of the base that become resident. Only touched pages of a mapped file do: few rows of
// an embedding that is not the head too, and none of a head that repeats the embedding.
int64_t resident_base_bytes(const PlanRequest& request) {
  const WeightTable& table = request.model.table();
  const bool has_head = std::any_of(table.rows().begin(), table.rows().end(),
                                    [](const auto& row) { return row.role == WeightRole::head; });
  int64_t bytes = 0;
  for (const WeightInfo& weight : request.base.weights()) {
    const WeightRow* row = table.find(weight.name);
    const bool looked_up_only = row && row->role == WeightRole::embedding && has_head;
    const bool is_nobodys = !row && table.ignores(weight.name);
    if (!(looked_up_only || is_nobodys) || request.sharding != Sharding::shared)
      bytes += stored_bytes(weight);
  }
  return bytes;
}

// What ranks that have met hold for it: MPI or gloo, the shared memory of a host. As seen in runs.
constexpr int64_t kExchangeBytes = int64_t{9} << 20;

int64_t program_bytes(const PlanRequest& request) {
  if (request.on_gpu) return kGpuContextBytes;
  return request.program_bytes + (world_size_of(request) > 1 ? kExchangeBytes : 0);
}

MemoryRequest memory_request(const PlanRequest& request, const ModelProfile& profile,
                             int64_t trainable_parameters) {
  const auto world_size = static_cast<int64_t>(world_size_of(request));
  return {
      .table = request.model.table(),
      .base = request.base.weights(),
      .model = profile,
      .shape = pass_shape(request),
      .trainable_parameters = trainable_parameters,
      .lowest_adapted_block = lowest_adapted_block(request),
      .slots_of_rank = (request.slots_per_step + world_size - 1) / world_size,
      .world_size = world_size,
      .base_file_bytes = resident_base_bytes(request),
      .program_bytes = program_bytes(request),
      .moment_bytes = optimizers().at(request.optimizer).state_bytes_per_parameter,
      .recompute_blocks = request.recompute_blocks,
      .saves_checkpoints = request.saves_checkpoints,
      .keeps_best = request.keeps_best,
      .records_blocks = request.cuda_graphs && request.on_gpu && !is_gathered(request.sharding)};
}

/// The most micro-batches of a rank: all ranks walk through as many passes.
int64_t rounds_of(const PlanRequest& request) {
  return deal_slots(request.slots_per_step, /*rank=*/0, world_size_of(request)).size();
}

/// Adds up what every rank sends: [rank].
LinkBytes link_bytes(const HostLayout& ranks, const std::vector<SentBytes>& sent) {
  LinkBytes bytes;
  std::vector<int64_t> of_host(static_cast<size_t>(ranks.num_hosts), 0);
  for (size_t rank = 0; rank < sent.size(); ++rank) {
    bytes.of_rank = std::max(bytes.of_rank, sent[rank].same_host);
    of_host[ranks.host_of[rank]] += sent[rank].other_host;
  }
  bytes.of_host = *std::max_element(of_host.begin(), of_host.end());
  return bytes;
}

/// What `rank` sends when every rank of its group gathers slices of `slice_bytes`: as in a ring.
SentBytes ring_bytes(const PlanRequest& request, int rank, int64_t slice_bytes) {
  const std::vector<int> group = gather_group(request.sharding, request.ranks, rank);
  const auto own = static_cast<size_t>(std::find(group.begin(), group.end(), rank) - group.begin());
  const int next = group[(own + 1) % group.size()];
  const int64_t bytes = static_cast<int64_t>(group.size() - 1) * slice_bytes;
  if (request.ranks.host_of[next] == request.ranks.host_of[rank]) return {.same_host = bytes};
  return {.other_host = bytes};
}

// What a gathered base costs; zeros where nothing is gathered.
struct GatherCosts {
  int64_t memory = 0;              // of a rank
  SentBytes sent;                  // by the rank of the request, in a step
  std::vector<LinkBytes> gathers;  // [unit of a pass]
};

GatherCosts gather_costs(const PlanRequest& request) {
  const auto group_size =
      static_cast<int64_t>(gather_group(request.sharding, request.ranks, request.rank).size());
  const std::vector<UnitLayout> units =
      unit_layouts(request.base, weight_units(request.model.table(), request.base),
                   static_cast<int>(group_size));
  const std::vector<size_t> pass = request.model.units_of_pass(lowest_adapted_block(request));
  std::vector<SentBytes> of_a_byte;  // [rank] for slices of one byte
  for (int rank = 0; rank < world_size_of(request); ++rank)
    of_a_byte.push_back(ring_bytes(request, rank, 1));
  const LinkBytes links = link_bytes(request.ranks, of_a_byte);

  GatherCosts costs;
  for (const WeightInfo& weight : request.base.weights())
    if (!is_cut(weight)) costs.memory += stored_bytes(weight);
  for (const UnitLayout& unit : units) costs.memory += unit.slice_bytes;
  int64_t slices_of_a_pass = 0, largest_pair = 0;
  for (size_t i = 0; i < pass.size(); ++i) {
    const int64_t slice = units[pass[i]].slice_bytes;
    const int64_t next = i + 1 < pass.size() ? units[pass[i + 1]].slice_bytes : 0;
    largest_pair = std::max(largest_pair, group_size * (slice + next));
    slices_of_a_pass += slice;
    costs.gathers.push_back({links.of_rank * slice, links.of_host * slice});
  }
  costs.memory += largest_pair;
  costs.sent = ring_bytes(request, request.rank, rounds_of(request) * slices_of_a_pass);
  return costs;
}

// The adapter's gradient, and the losses of the slots with the request to stop behind them.
SentBytes sums_of_a_step(const PlanRequest& request, int rank, int64_t num_parameters) {
  const SentBytes gradient =
      request.deterministic
          ? tree_bytes(request.ranks, rank, request.slots_per_step, num_parameters)
          : all_reduce_bytes(request.ranks, rank, 4 * num_parameters);
  const SentBytes losses = all_reduce_bytes(request.ranks, rank, 8 * (request.slots_per_step + 1));
  return {gradient.same_host + losses.same_host, gradient.other_host + losses.other_host};
}

StepWork step_work(const PlanRequest& request, const ModelProfile& profile,
                   int64_t trainable_parameters) {
  const int64_t tokens = request.batch_size * request.tokens;
  StepWork work{.num_micro_batches = rounds_of(request),
                .flops = flops_of_token({.model = profile,
                                         .trainable_parameters = trainable_parameters,
                                         .lowest_adapted_block = lowest_adapted_block(request),
                                         .recompute_blocks = request.recompute_blocks}),
                .world_size = world_size_of(request),
                .tokens = tokens * request.slots_per_step};
  for (double& flops : work.flops) flops *= static_cast<double>(tokens);
  work.num_backward_units = request.model.num_blocks() - lowest_adapted_block(request);
  const std::vector<Bucket> buckets = gradient_buckets(trainable_parameters, work.world_size);
  if (!buckets.empty()) {
    const auto share = [&](const Bucket& bucket) {
      return static_cast<double>(bucket.size()) / static_cast<double>(trainable_parameters);
    };
    work.first_bucket = share(buckets.front());
    work.last_bucket = share(buckets.back());
  }
  std::vector<SentBytes> sums;  // [rank]
  for (int rank = 0; rank < work.world_size; ++rank)
    sums.push_back(sums_of_a_step(request, rank, trainable_parameters));
  work.sums = link_bytes(request.ranks, sums);
  return work;
}

}  // namespace

RunPlan plan_run(const PlanRequest& request) {
  const ModelProfile profile = request.model.profile(pass_shape(request), adapter_load(request));
  RunPlan plan;
  plan.base_parameters = request.model.table().num_parameters();
  plan.trainable_parameters = adapter_parameters(request);

  plan.work = step_work(request, profile, plan.trainable_parameters);

  plan.memory = plan_memory(memory_request(request, profile, plan.trainable_parameters));
  if (request.sharding == Sharding::shared) plan.mapped_bytes = plan.memory.weights;
  GatherCosts gather;
  if (is_gathered(request.sharding)) {
    gather = gather_costs(request);
    plan.memory.weights = gather.memory;
    plan.work.gathers = gather.gathers;
  }

  const SentBytes sums = sums_of_a_step(request, request.rank, plan.trainable_parameters);
  plan.gather_bytes_per_step = gather.sent.total();
  plan.gather_bytes_inter_node_per_step = gather.sent.other_host;
  plan.comm_bytes_per_step = sums.total() + gather.sent.total();
  plan.comm_bytes_inter_node_per_step = sums.other_host + gather.sent.other_host;
  plan.host_bytes_inter_node_per_step = plan.work.sums.of_host;
  for (const LinkBytes& unit : gather.gathers)
    plan.host_bytes_inter_node_per_step += plan.work.num_micro_batches * unit.of_host;
  return plan;
}

int64_t slots_per_step(const Config& config, int world_size) {
  const StepsConfig& steps = config.steps;
  if (!steps.global_batch_size) return steps.gradient_accumulation_steps * world_size;
  require_work_for_ranks(config, world_size);
  return *steps.global_batch_size / steps.batch_size;
}

}  // namespace lora_dist
