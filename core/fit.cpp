#include "core/fit.hpp"

#include <algorithm>

#include "core/units.hpp"

namespace lora_dist {
namespace {

PlanRequest with_setting(const FitRequest& request, const Setting& setting) {
  PlanRequest plan = request.plan;
  plan.sharding = setting.sharding;
  plan.recompute_blocks = setting.recompute_blocks;
  plan.batch_size = std::min(setting.batch_size, request.num_samples);
  // The global batch stays: more micro-batches of fewer samples.
  plan.slots_per_step *= request.steps.batch_size / setting.batch_size;
  return plan;
}

bool fits(const FitRequest& request, const RunPlan& plan) {
  return plan.held_bytes() <= request.available_bytes;
}

bool keeps_base(const FitRequest& request, const RunPlan& plan) {
  const std::vector<int>& host_of = request.plan.ranks.host_of;
  const int64_t ranks_of_host = std::count(host_of.begin(), host_of.end(), host_of.front());
  return plan.held_bytes() + plan.mapped_bytes / ranks_of_host <= request.available_bytes;
}

/// What the config leaves open, cheapest first: a gather inside a host costs less than building
/// activations again, one over the network may cost more.
std::vector<Setting> open_settings(const FitRequest& request) {
  std::vector<bool> recompute;
  if (request.steps.gradient_checkpointing != "true") recompute.push_back(false);
  if (request.steps.gradient_checkpointing != "false") recompute.push_back(true);
  std::vector<Setting> settings;
  for (const bool over_network : {false, true})
    for (const bool again : recompute)
      for (const Sharding sharding : request.shardings)
        if ((sharding == Sharding::full) == over_network)
          settings.push_back({sharding, again, request.steps.batch_size});
  return settings;
}

/// The divisors of `batch_size`, each at most half of the one before: any of them divides every
/// global batch that `batch_size` divides.
std::vector<int64_t> halvings(int64_t batch_size) {
  std::vector<int64_t> sizes = {batch_size};
  for (int64_t size = batch_size / 2; size > 0; --size)
    if (batch_size % size == 0 && 2 * size <= sizes.back()) sizes.push_back(size);
  return sizes;
}

std::vector<Setting> proposable_settings(const FitRequest& request) {
  const StepsConfig& steps = request.steps;
  std::vector<Setting> settings;
  const auto add_with_blocks_rebuilt = [&](Sharding sharding) {
    for (const int64_t batch_size : halvings(steps.batch_size))
      settings.push_back({sharding, /*recompute_blocks=*/true, batch_size});
  };
  for (const Sharding sharding : request.shardings) add_with_blocks_rebuilt(sharding);
  for (const Sharding sharding : request.more_shardings) {
    // The other base alone may be enough.
    if (steps.gradient_checkpointing != "true")
      settings.push_back({sharding, /*recompute_blocks=*/false, steps.batch_size});
    add_with_blocks_rebuilt(sharding);
  }
  return settings;
}

/// "sharding: hybrid with batch_size: 2, gradient_checkpointing: true".
std::string keys_text(const FitRequest& request, const Setting& setting) {
  std::string text;
  for (const auto& [key, value] : changed_keys(request, setting)) {
    const bool second = text.find(" with ") == std::string::npos;
    text += fmt::format("{}{}: {}", text.empty() ? "" : second ? " with " : ", ", key, value);
  }
  return text;
}

}  // namespace

Fit find_fit(const FitRequest& request) {
  std::vector<Fit> open;
  for (const Setting& setting : open_settings(request)) {
    RunPlan plan = plan_run(with_setting(request, setting));
    const bool does = fits(request, plan), keeps = keeps_base(request, plan);
    open.push_back({setting, std::move(plan), does, keeps, std::nullopt});
  }
  for (const auto good : {&Fit::keeps_base, &Fit::fits})
    for (Fit& fit : open)
      if (fit.*good) return std::move(fit);

  Fit least = *std::min_element(open.begin(), open.end(), [](const Fit& a, const Fit& b) {
    return a.plan.held_bytes() < b.plan.held_bytes();
  });
  for (const Setting& setting : proposable_settings(request)) {
    RunPlan plan = plan_run(with_setting(request, setting));
    if (!fits(request, plan)) continue;
    least.proposal = {setting, std::move(plan)};
    break;
  }
  return least;
}

std::vector<std::pair<std::string, std::string>> changed_keys(const FitRequest& request,
                                                              const Setting& setting) {
  const StepsConfig& steps = request.steps;
  const std::vector<Sharding>& open = request.shardings;
  std::vector<std::pair<std::string, std::string>> keys;
  if (std::find(open.begin(), open.end(), setting.sharding) == open.end())
    keys.emplace_back("sharding", sharding_name(setting.sharding));
  if (setting.batch_size != steps.batch_size) {
    keys.emplace_back("batch_size", fmt::format("{}", setting.batch_size));
    if (!steps.global_batch_size)
      keys.emplace_back("gradient_accumulation_steps",
                        fmt::format("{}", steps.gradient_accumulation_steps * steps.batch_size /
                                              setting.batch_size));
  }
  if (setting.recompute_blocks && steps.gradient_checkpointing != "true")
    keys.emplace_back("gradient_checkpointing", "true");
  return keys;
}

Fault memory_fault(const FitRequest& request, const Fit& fit, const std::string& host) {
  Fault fault{.where = "memory",
              .found = fmt::format(
                  "this run needs {} per rank{}, {} are free{}", gib_text(fit.plan.held_bytes()),
                  fit.plan.mapped_bytes > 0 ? " beside the mapped base" : "",
                  gib_text(request.available_bytes), host.empty() ? "" : " on " + host),
              .expected = {},
              .fix = {}};
  if (fit.proposal) {
    fault.fix = fmt::format("{} would need {}", keys_text(request, fit.proposal->setting),
                            gib_text(fit.proposal->plan.held_bytes()));
  } else {
    fault.fix =
        "no batch_size or sharding makes it fit: lower max_seq_length, or give each rank "
        "more memory";
  }
  return fault;
}

}  // namespace lora_dist
