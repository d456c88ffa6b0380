// lora-dist plan: parameters, memory of a rank, bytes on the wire and steps, before anything is
// allocated.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/adapters/adapter.hpp"
#include "core/models/model_families.hpp"
#include "core/units.hpp"
#include "data/weights/base_folder.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/run/plan_request.hpp"

namespace lora_dist {
namespace {

// The module paths of a spec's linear layers, from its table of weights.
std::vector<std::string> linear_modules(const DecoderSpec& spec) {
  std::vector<std::string> modules;
  for (const WeightRow& row : weight_rows(spec)) {
    if (row.shape.size() == 2 && row.name.ends_with("_proj.weight"))
      modules.push_back(row.name.substr(0, row.name.size() - 7));
  }
  return modules;
}

class PlanCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    config_.declare(app);
    app.add_option("--ranks", num_ranks_, "ranks of the run")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--nodes", num_hosts_, "hosts they are spread over")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--samples", num_samples_, "samples of the data set, to count steps");
    app.add_flag("--json", json_, "print one JSON object");
  }

  int run() override {
    const Config config = config_.read();
    require_keys(config, config.source, {"base_model"});
    const std::string& base = config.model.base_model;
    const DecoderSpec spec = read_decoder_spec(read_model_config(base), base + "/config.json");
    const std::unique_ptr<WeightSource> files = open_base_weights(base);
    PlanRequest request =
        plan_request(config, spec, *files,
                     match_targets(linear_modules(spec), config.adapter.target_modules,
                                   config.adapter.exclude_modules, spec.model_type),
                     config.data.max_seq_length, at::kCPU);
    request.ranks = HostLayout::in_blocks(num_ranks_, std::min(num_hosts_, num_ranks_));
    request.sharding =
        resolve_sharding(config.distribution.sharding, /*on_gpu=*/false, request.ranks);
    request.slots_per_step = slots_per_step(config, num_ranks_);
    const RunPlan plan = plan_run(request);
    const int64_t steps = num_steps(config);
    if (json_) {
      print_json(plan, steps, request.sharding);
    } else {
      print_text(plan, steps, config, request);
    }
    return 0;
  }

 private:
  // 0 where neither max_steps nor the number of samples says it.
  int64_t num_steps(const Config& config) const {
    if (config.steps.max_steps > 0) return config.steps.max_steps;
    const auto global =
        static_cast<double>(config.steps.batch_size * slots_per_step(config, num_ranks_));
    return static_cast<int64_t>(
        std::ceil(std::ceil(static_cast<double>(num_samples_) / global) * config.steps.epochs));
  }

  static void print_json(const RunPlan& plan, int64_t steps, Sharding sharding) {
    const MemoryPlan& memory = plan.memory;
    const nlohmann::ordered_json result = {
        {"steps", steps},
        {"sharding", sharding_name(sharding)},
        {"base_parameters", plan.base_parameters},
        {"trainable_parameters", plan.trainable_parameters},
        {"per_rank",
         {{"memory_bytes",
           {{"total", memory.total()},
            {"weights", memory.weights},
            {"adapter", memory.adapter},
            {"optimizer", memory.optimizer},
            {"activations", memory.activations},
            {"other", memory.other}}},
          {"comm_bytes_per_step", plan.comm_bytes_per_step},
          {"comm_bytes_inter_node_per_step", plan.comm_bytes_inter_node_per_step},
          {"gather_bytes_per_step", plan.gather_bytes_per_step},
          {"gather_bytes_inter_node_per_step", plan.gather_bytes_inter_node_per_step}}}};
    std::puts(result.dump().c_str());
  }

  static const char* whose_weights(Sharding sharding) {
    if (is_gathered(sharding)) return "this rank's slice, two units gathered";
    return sharding == Sharding::none ? "a copy per rank" : "one mapped copy per host";
  }

  void print_text(const RunPlan& plan, int64_t steps, const Config& config,
                  const PlanRequest& request) const {
    const MemoryPlan& memory = plan.memory;
    std::printf("base          %s parameters, %s on disk\n",
                count_text(plan.base_parameters).c_str(),
                bytes_text(stored_bytes(request.base)).c_str());
    std::printf("adapter       %s trainable parameters (%.3f %%), %s as fp32 file\n",
                count_text(plan.trainable_parameters).c_str(),
                100.0 * static_cast<double>(plan.trainable_parameters) /
                    static_cast<double>(plan.base_parameters),
                bytes_text(4 * plan.trainable_parameters).c_str());
    std::printf("micro-batch   %lld x %lld tokens\n",
                static_cast<long long>(config.steps.batch_size),
                static_cast<long long>(config.data.max_seq_length));
    std::printf(
        "memory/rank   %s: weights %s (%s), activations %s, adapter %s, "
        "optimizer %s, other %s\n",
        bytes_text(memory.total()).c_str(), bytes_text(memory.weights).c_str(),
        whose_weights(request.sharding), bytes_text(memory.activations).c_str(),
        bytes_text(memory.adapter).c_str(), bytes_text(memory.optimizer).c_str(),
        bytes_text(memory.other).c_str());
    std::printf("sent/rank     %s per step, %s of it to other hosts\n",
                bytes_text(plan.comm_bytes_per_step).c_str(),
                bytes_text(plan.comm_bytes_inter_node_per_step).c_str());
    if (is_gathered(request.sharding))
      std::printf("of it base    %s gathered, %s of it to other hosts (sharding %s)\n",
                  bytes_text(plan.gather_bytes_per_step).c_str(),
                  bytes_text(plan.gather_bytes_inter_node_per_step).c_str(),
                  sharding_name(request.sharding));
    if (steps > 0) {
      std::printf("steps         %lld\n", static_cast<long long>(steps));
    } else {
      std::puts("steps         unknown without --samples or max_steps");
    }
  }

  ConfigOptions config_;
  int num_ranks_ = 1, num_hosts_ = 1;
  int64_t num_samples_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_plan_command() { return std::make_unique<PlanCommand>(); }

}  // namespace lora_dist
