#include "launcher/run/plan_report.hpp"

#include "core/base/units.hpp"

namespace lora_dist {
namespace {

constexpr const char* kAssumptions =
    "a gather hides behind the unit that runs before it, the sum of the gradients behind the "
    "backward pass except for its last bucket; no latencies";

const char* whose_weights(const Fit& fit) {
  if (is_gathered(fit.setting.sharding)) return "this rank's slice, two units gathered";
  return fit.plan.mapped_bytes > 0 ? "one mapped copy per host" : "a copy per rank";
}

std::string seconds_text(double seconds) {
  return seconds < 1 ? fmt::format("{:.3g} ms", 1e3 * seconds) : fmt::format("{:.3g} s", seconds);
}

/// Of adapter_model.safetensors, its header left out.
int64_t adapter_file_bytes(const PlanReport& report) {
  const int64_t of_a_value = report.config.state.save_dtype == "fp32" ? 4 : 2;
  return of_a_value * report.fit.plan.trainable_parameters;
}

int64_t checkpoint_bytes(const RunPlan& plan) {
  return 4 * plan.trainable_parameters + plan.memory.optimizer;
}

/// Label and value in two columns.
class Lines {
 public:
  void add(const char* label, const std::string& value) {
    text_ += fmt::format("{:<13} {}\n", label, value);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void add_memory(Lines& lines, const PlanReport& report) {
  const Fit& fit = report.fit;
  const MemoryPlan& memory = fit.plan.memory;
  lines.add("memory/rank",
            fmt::format("{}: weights {} ({}), activations {}, adapter {}, optimizer {}, other {}",
                        bytes_text(memory.total()), bytes_text(memory.weights), whose_weights(fit),
                        bytes_text(memory.activations), bytes_text(memory.adapter),
                        bytes_text(memory.optimizer), bytes_text(memory.other)));
  const std::string whose = report.memory_is_ours ? " here" : "";
  const Fault fault = memory_fault(report.request, fit, "");
  if (!fit.fits) {
    lines.add("fits", fmt::format("no: {}{}; {}", fault.found, whose, fault.fix));
    return;
  }
  lines.add("fits", fmt::format("yes: {} needed{}, {} free{}", gib_text(fit.plan.held_bytes()),
                                fit.plan.mapped_bytes > 0 ? " beside the mapped base" : "",
                                gib_text(report.request.available_bytes), whose));
  if (!fit.keeps_base)
    lines.add("",
              "but the mapped base does not stay in memory: parts are read again in every step");
}

void add_traffic(Lines& lines, const PlanReport& report) {
  const RunPlan& plan = report.fit.plan;
  lines.add("sent/rank", fmt::format("{} per step, {} of it to other hosts (rank 0)",
                                     bytes_text(plan.comm_bytes_per_step),
                                     bytes_text(plan.comm_bytes_inter_node_per_step)));
  if (is_gathered(report.fit.setting.sharding))
    lines.add("of it base", fmt::format("{} gathered, {} of it to other hosts (sharding {})",
                                        bytes_text(plan.gather_bytes_per_step),
                                        bytes_text(plan.gather_bytes_inter_node_per_step),
                                        sharding_name(report.fit.setting.sharding)));
  if (report.request.plan.ranks.num_hosts > 1)
    lines.add("sent/host", fmt::format("{} per step to other hosts, all its ranks together",
                                       bytes_text(plan.host_bytes_inter_node_per_step)));
}

void add_time(Lines& lines, const PlanReport& report) {
  const StepWork& work = report.fit.plan.work;
  lines.add(
      "arithmetic",
      fmt::format("{:.4g} TFLOP per rank and step{}", work.total_flops() / 1e12,
                  report.fit.setting.recompute_blocks ? ", what is built again included" : ""));
  if (report.rates.flops_per_s == 0) return;
  const std::optional<StepTime> time = step_time(work, report.rates);
  if (!time) {
    lines.add("model", fmt::format("computing {}; no step time without {}",
                                   seconds_text(work.total_flops() / report.rates.flops_per_s),
                                   fmt::join(missing_rates(work, report.rates), " and ")));
    return;
  }
  std::string parts = "computing " + seconds_text(time->compute_s);
  if (time->gather_s > 0)
    parts += fmt::format(", waiting for gathers {} (of {})", seconds_text(time->exposed_gather_s),
                         seconds_text(time->gather_s));
  if (time->sums_s > 0)
    parts += fmt::format(", summing gradients {} (of {})", seconds_text(time->exposed_sums_s),
                         seconds_text(time->sums_s));
  if (time->waiting_s > 0) parts += ", for the slowest rank " + seconds_text(time->waiting_s);
  lines.add("model", fmt::format("{} per step: {}", seconds_text(time->step_s()), parts));
  const double tokens_per_s = static_cast<double>(work.tokens) / time->step_s();
  lines.add("",
            fmt::format("efficiency {:.1f} % of a rank that waits for nobody, {} tokens/s in all",
                        100 * time->efficiency(), count_text(static_cast<int64_t>(tokens_per_s))));
  lines.add("", fmt::format("({})", kAssumptions));
}

nlohmann::ordered_json fit_json(const PlanReport& report) {
  const Fit& fit = report.fit;
  nlohmann::ordered_json result = {{"fits", fit.fits},
                                   {"keeps_base", fit.keeps_base},
                                   {"needed_bytes", fit.plan.held_bytes()},
                                   {"available_bytes", report.request.available_bytes}};
  if (!fit.proposal) return result;
  nlohmann::ordered_json keys = nlohmann::ordered_json::object();
  for (const auto& [key, value] : changed_keys(report.request, fit.proposal->setting))
    keys[key] = value;
  result["proposal"] = {{"keys", keys}, {"needed_bytes", fit.proposal->plan.held_bytes()}};
  if (fit.proposal->setting.num_ranks > 0) {
    result["proposal"]["ranks"] = fit.proposal->setting.num_ranks;
    result["proposal"]["nodes"] = fit.proposal->setting.num_hosts;
  }
  return result;
}

nlohmann::ordered_json model_json(const StepWork& work, const StepTime& time) {
  return {{"compute_s", time.compute_s},
          {"gather_s", time.gather_s},
          {"exposed_gather_s", time.exposed_gather_s},
          {"sums_s", time.sums_s},
          {"exposed_sums_s", time.exposed_sums_s},
          {"waiting_s", time.waiting_s},
          {"step_s", time.step_s()},
          {"efficiency", time.efficiency()},
          {"tokens_per_second", static_cast<double>(work.tokens) / time.step_s()},
          {"assumes", kAssumptions}};
}

}  // namespace

std::string plan_text(const PlanReport& report) {
  const RunPlan& plan = report.fit.plan;
  const PlanRequest& request = report.request.plan;
  const double share = 100.0 * static_cast<double>(plan.trainable_parameters) /
                       static_cast<double>(plan.base_parameters);
  Lines lines;
  lines.add("base", fmt::format("{} parameters, {} on disk", count_text(plan.base_parameters),
                                bytes_text(stored_bytes(request.base))));
  const StateConfig& state = report.config.state;
  lines.add("adapter", fmt::format("{} trainable parameters ({:.3f} %), {} as {} file",
                                   count_text(plan.trainable_parameters), share,
                                   bytes_text(adapter_file_bytes(report)), state.save_dtype));
  if (state.save_steps > 0)
    lines.add("checkpoint", fmt::format("{} each, adapter in fp32 and optimizer",
                                        bytes_text(checkpoint_bytes(plan))));
  lines.add("micro-batch",
            fmt::format("{} x {} tokens{}", report.config.steps.batch_size, request.tokens,
                        report.fit.setting.recompute_blocks
                            ? ", activations rebuilt (gradient_checkpointing)"
                            : ""));
  add_memory(lines, report);
  add_traffic(lines, report);
  add_time(lines, report);
  lines.add("steps", report.steps > 0 ? fmt::format("{}", report.steps)
                                      : "unknown without --samples or max_steps");
  return lines.text();
}

nlohmann::ordered_json plan_json(const PlanReport& report) {
  const RunPlan& plan = report.fit.plan;
  const MemoryPlan& memory = plan.memory;
  nlohmann::ordered_json result = {
      {"steps", report.steps},
      {"sharding", sharding_name(report.fit.setting.sharding)},
      {"gradient_checkpointing", report.fit.setting.recompute_blocks},
      {"base_parameters", plan.base_parameters},
      {"trainable_parameters", plan.trainable_parameters},
      {"adapter_file_bytes", adapter_file_bytes(report)},
      {"checkpoint_bytes", report.config.state.save_steps > 0 ? checkpoint_bytes(plan) : 0},
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
        {"gather_bytes_inter_node_per_step", plan.gather_bytes_inter_node_per_step},
        {"flops_per_step", plan.work.total_flops()}}},
      {"per_host", {{"comm_bytes_inter_node_per_step", plan.host_bytes_inter_node_per_step}}},
      {"fit", fit_json(report)}};
  if (const auto time = step_time(plan.work, report.rates))
    result["model"] = model_json(plan.work, *time);
  return result;
}

}  // namespace lora_dist
