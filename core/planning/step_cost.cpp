#include "core/planning/step_cost.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lora_dist {
namespace {

double seconds(int64_t bytes, double bytes_per_s) {
  return bytes == 0 ? 0 : static_cast<double>(bytes) / bytes_per_s;
}

/// A ring sends over all of its links at the same time.
double gather_seconds(const LinkBytes& bytes, const MeasuredRates& rates) {
  return std::max(seconds(bytes.of_rank, rates.link_bytes_per_s),
                  seconds(bytes.of_host, rates.network_bytes_per_s));
}

/// Seconds of a backward pass in which nothing is gathered, so that sums can travel unseen.
double free_seconds_of_backward(const StepWork& work, const MeasuredRates& rates) {
  double free_s = 0;
  const auto num_backward = static_cast<size_t>(work.num_backward_units);
  for (size_t unit = work.flops.size() - num_backward; unit < work.flops.size(); ++unit) {
    const double gather_s =
        unit < work.gathers.size() ? gather_seconds(work.gathers[unit], rates) : 0;
    free_s += std::max(0.0, work.flops[unit] / rates.flops_per_s - gather_s);
  }
  return free_s;
}

}  // namespace

std::vector<double> flops_of_token(const FlopsRequest& request) {
  const std::vector<LayerCost>& blocks = request.model.blocks;
  const auto num_blocks = static_cast<int64_t>(blocks.size());
  const auto adapted = static_cast<double>(num_blocks - request.lowest_adapted_block);
  const double adapter = static_cast<double>(request.trainable_parameters) / std::max(1.0, adapted);
  const auto forward = [&](int64_t block) {
    return blocks[block].forward_flops + (block >= request.lowest_adapted_block ? 2 * adapter : 0);
  };
  const auto backward = [&](int64_t block) {
    return blocks[block].backward_flops + 4 * adapter +
           (request.recompute_blocks ? forward(block) : 0);
  };
  std::vector<double> flops = {0};  // the embedding is looked up
  for (int64_t block = 0; block < num_blocks; ++block) flops.push_back(forward(block));
  flops.push_back(request.model.head.forward_flops + request.model.head.backward_flops);
  for (int64_t block = num_blocks - 1; block >= request.lowest_adapted_block; --block)
    flops.push_back(backward(block));
  return flops;
}

double StepWork::total_flops() const {
  return static_cast<double>(num_micro_batches) *
         std::accumulate(flops.begin(), flops.end(), double{0});
}

std::vector<std::string> missing_rates(const StepWork& work, const MeasuredRates& rates) {
  bool uses_links = work.sums.of_rank > 0, uses_network = work.sums.of_host > 0;
  for (const LinkBytes& gather : work.gathers) {
    uses_links = uses_links || gather.of_rank > 0;
    uses_network = uses_network || gather.of_host > 0;
  }
  std::vector<std::string> missing;
  if (rates.flops_per_s == 0) missing.emplace_back("--tflops");
  if (uses_links && rates.link_bytes_per_s == 0) missing.emplace_back("--link-gbs");
  if (uses_network && rates.network_bytes_per_s == 0) missing.emplace_back("--network-gbs");
  return missing;
}

std::optional<StepTime> step_time(const StepWork& work, const MeasuredRates& rates) {
  if (!missing_rates(work, rates).empty()) return std::nullopt;
  const auto rounds = static_cast<double>(work.num_micro_batches);
  StepTime time;
  time.compute_s = work.total_flops() / rates.flops_per_s;
  double runs_before_s = 0;  // of the unit behind which this one's gather hides
  for (size_t unit = 0; unit < work.gathers.size(); ++unit) {
    const double gather_s = gather_seconds(work.gathers[unit], rates);
    time.gather_s += rounds * gather_s;
    time.exposed_gather_s += rounds * std::max(0.0, gather_s - runs_before_s);
    runs_before_s = work.flops[unit] / rates.flops_per_s;
  }
  // Inside the hosts first, then across: one after the other.
  time.sums_s = seconds(work.sums.of_rank, rates.link_bytes_per_s) +
                seconds(work.sums.of_host, rates.network_bytes_per_s);
  // Buckets follow each other without a gap from the first one on, or the last one is alone.
  time.exposed_sums_s =
      std::max(work.last_bucket * time.sums_s,
               time.sums_s - (1 - work.first_bucket) * free_seconds_of_backward(work, rates));
  time.waiting_s = time.compute_s * rates.step_deviation * mean_of_largest(work.world_size);
  return time;
}

double mean_of_largest(int count) {
  if (count <= 1) return 0;
  // The integral of 1 - F^count over the positive numbers less that of F^count over the negative.
  constexpr double kStep = 1e-3, kEnd = 10;
  double mean = 0;
  for (double x = -kEnd + kStep / 2; x < kEnd; x += kStep) {
    const double all_below = std::pow(std::erfc(-x / std::sqrt(2.0)) / 2, count);
    mean += kStep * (x > 0 ? 1 - all_below : -all_below);
  }
  return mean;
}

}  // namespace lora_dist
