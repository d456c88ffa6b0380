// lora-dist plan: parameters, memory of a rank and whether it fits, bytes on the wire, steps, and
// from measured rates the time of a step; for any number of ranks, before anything is allocated.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>

#include "core/adapters/adapter.hpp"
#include "core/base/error.hpp"
#include "core/models/model_families.hpp"
#include "core/planning/fit.hpp"
#include "data/weights/base_folder.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/option_values.hpp"
#include "launcher/run/memory.hpp"
#include "launcher/run/plan_report.hpp"
#include "launcher/run/plan_request.hpp"
#include "launcher/threads.hpp"

namespace lora_dist {
namespace {

// Whoever asks for one GPU has no use for hundreds.
constexpr int kMostProposedRanks = 64;

class PlanCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    config_.declare(app);
    app.add_option("--ranks", num_ranks_, "ranks of the run")
        ->check(above_zero())
        ->capture_default_str();
    app.add_option("--nodes", num_hosts_, "hosts they are spread over")
        ->check(above_zero())
        ->capture_default_str();
    app.add_option("--samples", num_samples_, "samples of the data set, to count steps");
    app.add_flag("--gpu", gpu_,
                 "plan for GPUs, on any machine: sharding auto is none, hybrid or full, whichever "
                 "is cheapest and fits --memory; also what this build does not run there yet");
    app.add_option("--memory", memory_gib_,
                   "GiB that a rank may use: of one GPU; default, without --gpu: a rank's share of "
                   "what is free on this machine")
        ->check(above_zero());
    const auto rate = [&](const char* name, double& value, const char* help) {
      app.add_option(name, value, help)->check(above_zero());
    };
    rate("--tflops", tflops_,
         "as measured: TFLOP/s that one rank sustains over whole steps; no time is shown without");
    rate("--link-gbs", link_gbs_, "as measured: GB/s that a rank sends to ranks of its host");
    rate("--network-gbs", network_gbs_, "as measured: GB/s that a host sends to other hosts");
    rate("--deviation", deviation_percent_,
         "as measured: standard deviation of a rank's step time in % of it; without, nobody waits");
    app.add_flag("--json", json_, "print one JSON object");
  }

  int run() override {
    const Config config = config_.read();
    require_keys(config, config.source, {"base_model"});
    if (gpu_ && memory_gib_ == 0)
      throw ConfigError({.where = "command line",
                         .found = "--gpu without --memory",
                         .expected = {},
                         .fix = "give the memory of one GPU in GiB: --memory 80"});
    const std::string& base = config.model.base_model;
    // As a run does, so that what is measured here is what it holds.
    keep_freed_memory();
    at::set_num_threads(
        choose_threads({.world_size = num_ranks_, .local_world_size = ranks_of_host()},
                       config.distribution.threads_per_rank));
    const int64_t program_bytes =
        program_bytes_of(base, config.model.dtype, gpu_ ? at::kCUDA : at::kCPU);
    const auto model = read_model_outline(read_model_config(base), base + "/config.json");
    const std::unique_ptr<WeightSource> files = open_base_weights(base);
    model->settle(*files);
    const FitRequest request = fit_request(config, *model, *files, program_bytes);
    const Fit fit = find_fit(request);
    const PlanReport report{.config = config,
                            .request = request,
                            .fit = fit,
                            .steps = num_steps(config),
                            .memory_is_ours = memory_gib_ == 0,
                            .rates = {.flops_per_s = tflops_ * 1e12,
                                      .link_bytes_per_s = link_gbs_ * 1e9,
                                      .network_bytes_per_s = network_gbs_ * 1e9,
                                      .step_deviation = deviation_percent_ / 100}};
    if (json_) {
      std::puts(plan_json(report).dump().c_str());
    } else {
      std::fputs(plan_text(report).c_str(), stdout);
    }
    return 0;
  }

 private:
  FitRequest fit_request(const Config& config, const ModelOutline& model, const WeightSource& files,
                         int64_t program_bytes) const {
    FitRequest request{
        .plan = plan_request(
            config, model, files,
            match_targets(model.table().linear_modules(), config.adapter.target_modules,
                          config.adapter.exclude_modules, model.model_type()),
            config.data.max_seq_length, gpu_ ? at::kCUDA : at::kCPU, program_bytes),
        .steps = config.steps,
        .shardings = {}};
    HostLayout& ranks = request.plan.ranks;
    ranks = HostLayout::in_blocks(num_ranks_, std::min(num_hosts_, num_ranks_));
    request.plan.slots_per_step = slots_per_step(config, num_ranks_);
    const std::string& asked = config.distribution.sharding;
    request.shardings = gpu_ ? shardings_on_gpus(asked, ranks)
                             : std::vector<Sharding>{resolve_sharding(asked, gpu_, ranks)};
    request.more_shardings = shardings_that_hold_less(request.shardings.back(), gpu_, ranks);
    if (gpu_) request.most_ranks = kMostProposedRanks;
    request.available_bytes = memory_gib_ > 0
                                  ? static_cast<int64_t>(memory_gib_ * double{int64_t{1} << 30})
                                  : available_memory_bytes(ranks_of_host());
    return request;
  }

  int ranks_of_host() const {
    const int hosts = std::min(num_hosts_, num_ranks_);
    return (num_ranks_ + hosts - 1) / hosts;
  }

  // 0 where neither max_steps nor the number of samples says it.
  int64_t num_steps(const Config& config) const {
    if (config.steps.max_steps > 0) return config.steps.max_steps;
    const auto global =
        static_cast<double>(config.steps.batch_size * slots_per_step(config, num_ranks_));
    return static_cast<int64_t>(
        std::ceil(std::ceil(static_cast<double>(num_samples_) / global) * config.steps.epochs));
  }

  ConfigOptions config_;
  int num_ranks_ = 1, num_hosts_ = 1;
  int64_t num_samples_ = 0;
  bool gpu_ = false;
  double memory_gib_ = 0;                                                       // 0: not given
  double tflops_ = 0, link_gbs_ = 0, network_gbs_ = 0, deviation_percent_ = 0;  // 0: not measured
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_plan_command() { return std::make_unique<PlanCommand>(); }

}  // namespace lora_dist
