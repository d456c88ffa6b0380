#include "core/planning/fit.hpp"

#include <algorithm>

#include "core/base/units.hpp"

namespace lora_dist {
namespace {

// What a proposal leaves free: the program's own memory differs by less between two processes.
constexpr int64_t kProposalMargin = int64_t{16} << 20;
constexpr int64_t kShortestProposed = 64;  // tokens
constexpr int kMostGpusOfAHost = 8;

int world_size_of(const FitRequest& request) {
  return static_cast<int>(request.plan.ranks.host_of.size());
}

PlanRequest with_setting(const FitRequest& request, const Setting& setting) {
  PlanRequest plan = request.plan;
  plan.sharding = setting.sharding;
  plan.recompute_blocks = setting.recompute_blocks;
  plan.batch_size = std::min(setting.batch_size, request.num_samples);
  // The global batch stays: more micro-batches of fewer samples.
  plan.slots_per_step *= request.steps.batch_size / setting.batch_size;
  if (setting.num_ranks > 0) {
    plan.ranks = HostLayout::in_blocks(setting.num_ranks, setting.num_hosts);
    // Without global_batch_size every rank brings its own micro-batches.
    if (!request.steps.global_batch_size)
      plan.slots_per_step = plan.slots_per_step / world_size_of(request) * setting.num_ranks;
  }
  if (setting.max_seq_length > 0) plan.tokens = setting.max_seq_length;
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

/// Twice the ranks and so on, on more hosts where one has no more GPUs.
std::vector<Setting> settings_of_more_ranks(const FitRequest& request) {
  const int most_hosts = request.plan.ranks.num_hosts;
  std::vector<Setting> settings;
  for (int ranks = 2 * world_size_of(request); ranks <= request.most_ranks; ranks *= 2) {
    if (request.steps.global_batch_size &&
        ranks > *request.steps.global_batch_size / request.steps.batch_size)
      break;
    const int hosts = std::max(most_hosts, (ranks + kMostGpusOfAHost - 1) / kMostGpusOfAHost);
    for (const Sharding sharding : shardings_on_gpus("auto", HostLayout::in_blocks(ranks, hosts))) {
      if (!is_gathered(sharding)) continue;
      for (const bool again : {false, true})
        if (again || request.steps.gradient_checkpointing != "true")
          settings.push_back({sharding, again, request.steps.batch_size, ranks, hosts});
      settings.push_back({sharding, /*recompute_blocks=*/true, /*batch_size=*/1, ranks, hosts});
    }
  }
  return settings;
}

/// Half the length and so on of the setting that needs least otherwise.
std::vector<Setting> settings_of_shorter_samples(const FitRequest& request, Setting least) {
  std::vector<Setting> settings;
  for (int64_t length = request.plan.tokens / 2; length >= kShortestProposed; length /= 2) {
    least.max_seq_length = length;
    settings.push_back(least);
  }
  return settings;
}

/// "weights 13.5 GiB, activations 0.4 GiB ...", the largest first, for what is held.
std::string parts_text(const RunPlan& plan) {
  std::vector<std::pair<int64_t, const char*>> parts = {
      {plan.memory.weights - plan.mapped_bytes, "weights"},
      {plan.memory.activations, "activations"},
      {plan.memory.adapter + plan.memory.optimizer, "adapter and optimizer"},
      {plan.memory.other, "the program"}};
  std::sort(parts.rbegin(), parts.rend());
  std::string text;
  for (const auto& [bytes, name] : parts)
    if (bytes > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, gib_text(bytes));
  return text;
}

/// What else would make the largest part smaller.
const char* advice_on(const RunPlan& plan) {
  const int64_t weights = plan.memory.weights - plan.mapped_bytes;
  const int64_t learning = plan.memory.adapter + plan.memory.optimizer;
  if (weights >= std::max(learning, plan.memory.activations))
    return "give each rank more memory, or a smaller base";
  return learning >= plan.memory.activations ? "lower lora_rank, or optimizer: adamw8bit"
                                             : "give each rank more memory";
}

/// "sharding: hybrid with batch_size: 2, gradient_checkpointing: true".
std::string keys_text(const FitRequest& request, const Setting& setting) {
  std::string text;
  for (const auto& [key, value] : changed_keys(request, setting)) {
    const bool second = text.find(" with ") == std::string::npos;
    text += fmt::format("{}{}: {}", text.empty() ? "" : second ? " with " : ", ", key, value);
  }
  if (setting.num_ranks == 0) return text;
  const std::string hosts =
      setting.num_hosts > 1 ? fmt::format(" on {} hosts", setting.num_hosts) : "";
  return fmt::format("{} ranks{}{}{}", setting.num_ranks, hosts, text.empty() ? "" : " with ",
                     text);
}

}  // namespace

Fit find_fit(const FitRequest& request) {
  std::vector<Fit> open;
  for (const Setting& setting : open_settings(request)) {
    RunPlan plan = plan_run(with_setting(request, setting));
    const bool does = fits(request, plan), keeps = keeps_base(request, plan);
    open.push_back({setting, std::move(plan), does, keeps, std::nullopt});
  }
  for (Fit& fit : open)
    if (fit.keeps_base) return std::move(fit);
  for (Fit& fit : open)
    if (fit.fits) return std::move(fit);

  Fit least = *std::min_element(open.begin(), open.end(), [](const Fit& a, const Fit& b) {
    return a.plan.held_bytes() < b.plan.held_bytes();
  });
  Setting leanest = least.setting;
  least.least = least.plan;
  const auto propose_first_of = [&](const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      RunPlan plan = plan_run(with_setting(request, setting));
      if (plan.held_bytes() + kProposalMargin <= request.available_bytes) {
        least.proposal = {setting, std::move(plan)};
        return true;
      }
      if (setting.num_ranks == 0 && plan.held_bytes() < least.least->held_bytes()) {
        leanest = setting;
        least.least = std::move(plan);
      }
    }
    return false;
  };
  const bool found = propose_first_of(proposable_settings(request)) ||
                     propose_first_of(settings_of_more_ranks(request)) ||
                     propose_first_of(settings_of_shorter_samples(request, leanest));
  if (found) least.least.reset();
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
  if (setting.max_seq_length > 0)
    keys.emplace_back("max_seq_length", fmt::format("{}", setting.max_seq_length));
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
    const RunPlan& least = fit.least.value_or(fit.plan);
    fault.fix = fmt::format(
        "no batch_size, sharding or max_seq_length makes it fit: the least is {} ({}), so {} are "
        "missing; {}",
        gib_text(least.held_bytes()), parts_text(least),
        gib_text(least.held_bytes() - request.available_bytes), advice_on(least));
  }
  return fault;
}

}  // namespace lora_dist
