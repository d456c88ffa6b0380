#include "launcher/run/resume.hpp"

#include <algorithm>
#include <filesystem>

#include "core/all_ranks.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/replicas.hpp"
#include "data/checkpoints/store.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

bool is_checkpoint(const std::string& path) { return fs::exists(fs::path(path) / "manifest.json"); }

// false | true | auto (latest, enable) | a path. Answers an adapter path for a warm start through
// `warm_start`.
std::optional<LoadedCheckpoint> find_checkpoint(const StateConfig& state, std::string& warm_start) {
  const std::string& wanted = state.resume_from_checkpoint;
  if (wanted == "false") return std::nullopt;
  if (wanted == "auto" || wanted == "true") {
    std::optional<LoadedCheckpoint> newest = load_newest_checkpoint(state.output_dir);
    if (!newest && wanted == "true") {
      throw ConfigError({.where = state.output_dir + "/",
                         .found = "resume_from_checkpoint is true but no checkpoint exists",
                         .expected = {},
                         .fix = "use auto"});
    }
    return newest;
  }
  if (!fs::exists(wanted)) {
    throw ConfigError({.where = "resume_from_checkpoint",
                       .found = fmt::format("'{}' does not exist", wanted),
                       .expected = {},
                       .fix = "name a checkpoint-<step> folder, or use auto"});
  }
  if (is_checkpoint(wanted) || fs::exists(fs::path(wanted) / "optimizer.safetensors"))
    return load_checkpoint(wanted);
  warm_start = wanted;
  return std::nullopt;
}

void require_same_mathematics(const StartRequest& request, const LoadedCheckpoint& checkpoint) {
  const nlohmann::ordered_json& ours = request.fingerprints.at("mathematics");
  const nlohmann::ordered_json saved =
      checkpoint.fingerprints.value("mathematics", nlohmann::ordered_json::object());
  for (const auto& [key, value] : ours.items()) {
    if (!saved.contains(key) || saved[key] == value) continue;
    const auto& allowed = request.allowed_changes;
    if (std::find(allowed.begin(), allowed.end(), key) != allowed.end()) continue;
    throw ConfigError(
        {.where = checkpoint.path,
         .found = fmt::format("{} {}, this run asks for {}", key, saved[key].dump(), value.dump()),
         .expected = {},
         .fix = fmt::format("set {} again, pass --allow-change {}, or choose another output_dir",
                            saved[key].dump(), key)});
  }
}

// T24 of the requirements: the same data is an exact resume, other data keep the adapter and start
// a new schedule.
bool has_same_data(const StartRequest& request, const LoadedCheckpoint& checkpoint) {
  const std::string saved = checkpoint.fingerprints.value("data", "");
  return saved.empty() || saved == request.fingerprints.at("data").get<std::string>();
}

std::vector<double> eval_losses_of(const nlohmann::ordered_json& trainer) {
  std::vector<double> losses;
  if (!trainer.contains("log_history")) return losses;
  for (const auto& entry : trainer["log_history"]) {
    if (entry.contains("eval_loss") && entry["eval_loss"].is_number())
      losses.push_back(entry["eval_loss"].get<double>());
  }
  return losses;
}

// What rank 0 found, for the others: counters as text, tensors by broadcast.
RunStart load_on_rank_zero(const StartRequest& request, Adapter& adapter, Optimizer& optimizer) {
  RunStart start;
  std::string warm_start = request.config.adapter.init_lora_from;
  const std::optional<LoadedCheckpoint> checkpoint =
      find_checkpoint(request.config.state, warm_start);
  if (checkpoint) {
    require_same_mathematics(request, *checkpoint);
    adapter.params().assign(checkpoint->state.adapter, checkpoint->path);
    if (has_same_data(request, *checkpoint)) {
      optimizer.restore(checkpoint->state.optimizer, checkpoint->path);
      start.steps_done = checkpoint->state.step;
      start.resumed_from = checkpoint->path;
      start.trainer = checkpoint->state.trainer;
    } else {
      log_warning(fmt::format(
          "{}: other training data than now; its adapter is the start of a new schedule",
          checkpoint->path));
    }
  } else if (!warm_start.empty()) {
    if (warm_start != request.config.adapter.init_lora_from)
      log_warning(fmt::format(
          "{}: an adapter without optimizer state; it is the start of a new schedule", warm_start));
    adapter.params().assign(load_adapter(warm_start).tensors, warm_start);
  }
  return start;
}

void broadcast_state(Adapter& adapter, Optimizer& optimizer, Communicator& world) {
  at::Tensor values = adapter.params().flat().to(at::kCPU);
  world.broadcast(values, /*root=*/0, {.name = "adapter"}).wait();
  adapter.params().flat().copy_(values);
  NamedTensors state = optimizer.state();
  for (auto& [name, tensor] : state) {
    at::Tensor row = tensor.reshape({-1});
    world.broadcast(row, /*root=*/0, {.name = "optimizer state"}).wait();
  }
  optimizer.restore(state, "optimizer state of rank 0");
}

}  // namespace

nlohmann::ordered_json mathematics_of(const Config& config, int64_t slots_per_step) {
  const AdapterConfig& adapter = config.adapter;
  const StepsConfig& steps = config.steps;
  return {{"lora_rank", adapter.lora_rank},
          {"lora_alpha", adapter.lora_alpha.value_or(0)},
          {"lora_dropout", adapter.lora_dropout},
          {"use_rslora", adapter.use_rslora},
          {"batch_size", steps.batch_size},
          {"global_batch_size", steps.batch_size * slots_per_step},
          {"epochs", steps.epochs},
          {"max_steps", steps.max_steps},
          {"learning_rate", steps.learning_rate},
          {"scheduler", steps.scheduler},
          {"warmup_steps", steps.warmup_steps},
          {"warmup_ratio", steps.warmup_ratio},
          {"optimizer", steps.optimizer},
          {"weight_decay", steps.weight_decay},
          {"adam_beta1", steps.adam_beta1},
          {"adam_beta2", steps.adam_beta2},
          {"adam_epsilon", steps.adam_epsilon},
          {"max_grad_norm", steps.max_grad_norm},
          {"seed", steps.seed},
          {"shuffle", config.data.shuffle},
          {"packing", config.data.packing},
          {"max_seq_length", config.data.max_seq_length}};
}

RunStart start_run(const StartRequest& request, Adapter& adapter, Optimizer& optimizer,
                   Communicator& world) {
  adapter.initialize(static_cast<uint64_t>(request.config.steps.seed));
  RunStart start;
  const std::vector<std::string> told = on_all_ranks(world, [&] {
    if (world.rank() != 0) return std::string();
    start = load_on_rank_zero(request, adapter, optimizer);
    return nlohmann::ordered_json{{"steps_done", start.steps_done},
                                  {"resumed_from", start.resumed_from},
                                  {"trainer", start.trainer}}
        .dump();
  });
  const auto found = nlohmann::ordered_json::parse(told.front());
  start.steps_done = found.at("steps_done");
  start.resumed_from = found.at("resumed_from");
  start.trainer = found.at("trainer");
  start.eval_losses = eval_losses_of(start.trainer);
  if (world.world_size() > 1) broadcast_state(adapter, optimizer, world);
  if (request.config.distribution.hash_check_steps > 0)
    require_equal_replicas(world, adapter.params(), optimizer, start.steps_done);
  adapter.refresh();
  return start;
}

}  // namespace lora_dist
