#include "core/plan.hpp"

#include <algorithm>
#include <numeric>

#include "core/adapters/adapter.hpp"
#include "core/error.hpp"
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

// What a block keeps for its backward, and what works at once inside one block (performance 3.4).
int64_t activation_bytes(const PlanRequest& request) {
  const DecoderSpec& spec = request.spec;
  const int64_t d = spec.hidden_size, q = spec.query_width(), kv = spec.kv_width(),
                f = spec.intermediate_size;
  const int64_t rows = request.batch_size * request.tokens;
  const int64_t kept =
      (2 * d + 2 * q + 2 * kv + 2 * f) * request.compute_bytes + 4 * spec.num_heads;
  const int64_t working = (6 * d + 6 * q + 2 * f) * request.compute_bytes;
  const int64_t blocks = request.recompute_blocks
                             ? spec.num_layers * d * request.compute_bytes + kept
                             : spec.num_layers * kept;
  return rows * (blocks + working);
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

  const int64_t p = plan.trainable_parameters;
  int64_t largest_weight = 0;
  for (const WeightRow& row : rows)
    largest_weight = std::max(largest_weight, product_of(row.shape));
  constexpr int64_t kProgramBytes = int64_t{220}
                                    << 20;  // libraries and heap, measured for a tiny base
  constexpr int64_t kLogitBytes = int64_t{64} << 20;
  plan.memory.weights = request.base_file_bytes;
  plan.memory.adapter =
      p * (4 + 4 + 4) +
      p * request.compute_bytes;  // values, gradient twice (slot and sum), compute copy
  if (request.ranks.host_of.size() > 1) plan.memory.adapter += p * (4 + 4);  // sums of the peers
  plan.memory.optimizer = 8 * p;
  plan.memory.activations = activation_bytes(request);
  plan.memory.other = kProgramBytes + kLogitBytes + largest_weight * 4;

  const SentBytes sent = bytes_of_a_step(request, p);
  plan.comm_bytes_per_step = sent.total();
  plan.comm_bytes_inter_node_per_step = sent.other_host;
  return plan;
}

int64_t slots_per_step(const Config& config, int world_size) {
  const StepsConfig& steps = config.steps;
  if (!steps.global_batch_size) return steps.gradient_accumulation_steps * world_size;
  require_work_for_ranks(config, world_size);
  return *steps.global_batch_size / steps.batch_size;
}

}  // namespace lora_dist
