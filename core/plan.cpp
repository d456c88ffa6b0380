#include "core/plan.hpp"

#include <algorithm>
#include <numeric>

#include "core/adapters/adapter.hpp"
#include "core/error.hpp"
#include "core/models/decoder_units.hpp"
#include "core/shard_layout.hpp"
#include "core/tree_levels.hpp"

namespace lora_dist {
namespace {

int64_t product_of(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t adapter_parameters(const PlanRequest& request, const std::vector<WeightRow>& rows) {
  int64_t total = 0;
  for (const std::string& target : request.targets) {
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const WeightRow& r) { return r.name == target + ".weight"; });
    LD_CHECK(row != rows.end(), "a target without a weight: " + target);
    const auto rank = static_cast<int64_t>(pattern_value(
        request.adapter.rank_pattern, target, static_cast<double>(request.adapter.lora_rank)));
    total += rank * (row->shape[0] + row->shape[1]);
  }
  return total;
}

int64_t lowest_adapted_layer(const PlanRequest& request) {
  const std::string prefix = "model.layers.";
  int64_t lowest = request.spec.num_layers;
  for (const std::string& target : request.targets) {
    if (target.starts_with(prefix))
      lowest = std::min<int64_t>(lowest, std::stoll(target.substr(prefix.size())));
  }
  return lowest;
}

int64_t largest_rank(const AdapterConfig& adapter) {
  auto largest = static_cast<double>(adapter.lora_rank);
  for (const auto& [pattern, rank] : adapter.rank_pattern) largest = std::max(largest, rank);
  return static_cast<int64_t>(largest);
}

// Of mapped files only touched pages are resident: of an embedding that is not the head, few rows.
int64_t resident_base_bytes(const PlanRequest& request) {
  int64_t bytes = 0;
  for (const WeightInfo& weight : request.base.weights()) {
    const bool looked_up_only =
        weight.name == "model.embed_tokens.weight" && !request.spec.tied_embeddings;
    if (!looked_up_only || request.sharding != Sharding::shared) bytes += stored_bytes(weight);
  }
  return bytes;
}

MemoryRequest memory_request(const PlanRequest& request, int64_t trainable_parameters) {
  const auto world_size = static_cast<int64_t>(request.ranks.host_of.size());
  return {.spec = request.spec,
          .trainable_parameters = trainable_parameters,
          .lowest_adapted_layer = lowest_adapted_layer(request),
          .largest_rank = largest_rank(request.adapter),
          .drops_inputs = request.adapter.lora_dropout > 0,
          .batch_size = request.batch_size,
          .tokens = request.tokens,
          .slots_of_rank = (request.slots_per_step + world_size - 1) / world_size,
          .world_size = world_size,
          .compute_bytes = request.compute_bytes,
          .product_bytes = request.product_bytes,
          .stored_bytes = request.stored_bytes,
          .base_file_bytes = resident_base_bytes(request),
          .moment_bytes = request.optimizer == "adamw8bit" ? 2 : 8,
          .recompute_blocks = request.recompute_blocks,
          .saves_checkpoints = request.saves_checkpoints};
}

// What a gathered base costs rank 0; zeros where nothing is gathered.
struct GatherCosts {
  int64_t memory = 0;
  SentBytes sent;  // in a step
};

GatherCosts gather_costs(const PlanRequest& request) {
  const HostLayout& ranks = request.ranks;
  const std::vector<int> group = gather_group(request.sharding, ranks, /*rank=*/0);
  const auto size = static_cast<int64_t>(group.size());
  const std::vector<UnitLayout> units =
      unit_layouts(request.base, decoder_units(request.spec, request.base), group.size());
  const std::vector<size_t> pass = units_of_pass(request.spec, lowest_adapted_layer(request));
  GatherCosts costs;
  for (const WeightInfo& weight : request.base.weights())
    if (!is_cut(weight)) costs.memory += stored_bytes(weight);
  for (const UnitLayout& unit : units) costs.memory += unit.slice_bytes;
  int64_t bytes_of_a_pass = 0, largest_pair = 0;
  for (size_t i = 0; i < pass.size(); ++i) {
    const int64_t slice = units[pass[i]].slice_bytes;
    const int64_t next = i + 1 < pass.size() ? units[pass[i + 1]].slice_bytes : 0;
    largest_pair = std::max(largest_pair, size * (slice + next));
    bytes_of_a_pass += (size - 1) * slice;
  }
  costs.memory += largest_pair;
  const int64_t rounds =
      deal_slots(request.slots_per_step, /*rank=*/0, static_cast<int>(ranks.host_of.size())).size();
  if (size > 1)  // a gather counts as a ring: to the next rank
    (ranks.host_of[group[1]] == ranks.host_of[0] ? costs.sent.same_host : costs.sent.other_host) =
        rounds * bytes_of_a_pass;
  return costs;
}

// The adapter's gradient, and the losses of the slots with the request to stop behind them.
SentBytes bytes_of_a_step(const PlanRequest& request, int64_t num_parameters) {
  const SentBytes gradient =
      request.deterministic
          ? tree_bytes(request.ranks, /*rank=*/0, request.slots_per_step, num_parameters)
          : all_reduce_bytes(request.ranks, /*rank=*/0, 4 * num_parameters);
  const SentBytes losses =
      all_reduce_bytes(request.ranks, /*rank=*/0, 8 * (request.slots_per_step + 1));
  return {gradient.same_host + losses.same_host, gradient.other_host + losses.other_host};
}

}  // namespace

RunPlan plan_run(const PlanRequest& request) {
  const std::vector<WeightRow> rows = weight_rows(request.spec);
  RunPlan plan;
  for (const WeightRow& row : rows) plan.base_parameters += product_of(row.shape);
  plan.trainable_parameters = adapter_parameters(request, rows);

  plan.memory = plan_memory(memory_request(request, plan.trainable_parameters));
  const GatherCosts gather = is_gathered(request.sharding) ? gather_costs(request) : GatherCosts{};
  if (is_gathered(request.sharding)) plan.memory.weights = gather.memory;

  const SentBytes sent = bytes_of_a_step(request, plan.trainable_parameters);
  plan.gather_bytes_per_step = gather.sent.total();
  plan.gather_bytes_inter_node_per_step = gather.sent.other_host;
  plan.comm_bytes_per_step = sent.total() + gather.sent.total();
  plan.comm_bytes_inter_node_per_step = sent.other_host + gather.sent.other_host;
  return plan;
}

int64_t slots_per_step(const Config& config, int world_size) {
  const StepsConfig& steps = config.steps;
  if (!steps.global_batch_size) return steps.gradient_accumulation_steps * world_size;
  require_work_for_ranks(config, world_size);
  return *steps.global_batch_size / steps.batch_size;
}

}  // namespace lora_dist
