#include "launcher/run/resume.hpp"

#include "core/base/error.hpp"
#include "core/ranks/all_ranks.hpp"
#include "core/ranks/replicas.hpp"

namespace lora_dist {
namespace {

// Nothing would be trained, and an old adapter would be exported under new settings.
void require_steps_left(const StartRequest& request, const LoadedCheckpoint& checkpoint) {
  const int64_t done = checkpoint.state.step;
  const bool is_beyond = done > request.num_steps;
  const bool is_idle = request.claim->plan().must_train && done == request.num_steps;
  if (!is_beyond && !is_idle) return;
  throw ConfigError(
      {.where = checkpoint.path,
       .found = fmt::format("has {} steps done", done),
       .expected = fmt::format("fewer than the {} of this run", request.num_steps),
       .fix =
           "name an earlier checkpoint in resume_from_checkpoint, raise max_steps or epochs (with "
           "--allow-change for that key), or start anew in another output_dir"});
}

// What rank 0 found, for the others: counters as text, tensors by broadcast.
RunStart load_on_rank_zero(const StartRequest& request, Adapter& adapter, Optimizer& optimizer) {
  const LoadedStart loaded = request.claim->load();
  RunStart start;
  if (loaded.exact) {
    const LoadedCheckpoint& checkpoint = *loaded.checkpoint;
    require_steps_left(request, checkpoint);
    adapter.params().assign(checkpoint.state.adapter, checkpoint.path);
    optimizer.restore(checkpoint.state.optimizer, checkpoint.path);
    start.steps_done = checkpoint.state.step;
    start.resumed_from = checkpoint.path;
    start.trainer = checkpoint.state.trainer;
  } else if (loaded.adapter) {
    adapter.params().assign(loaded.adapter->tensors, loaded.adapter->path);
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
  if (world.world_size() > 1) broadcast_state(adapter, optimizer, world);
  if (request.config.distribution.hash_check_steps > 0)
    require_equal_replicas(world, adapter.params(), optimizer, start.steps_done);
  adapter.refresh();
  return start;
}

}  // namespace lora_dist
