// Where a run starts: fresh, from another adapter, or exactly where a checkpoint stopped.
#pragma once

#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/config/config.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/sockets/communicator.hpp"
#include "launcher/run/ownership.hpp"

namespace lora_dist {

struct StartRequest {
  const Config& config;
  RunClaim* claim = nullptr;  // rank 0 only, with its plan
  int64_t num_steps = 0;      // of the whole run
};

struct RunStart {
  int64_t steps_done = 0;
  std::string resumed_from;        // empty: a fresh run
  nlohmann::ordered_json trainer;  // trainer_state.json of the checkpoint
};

/// Fills adapter and optimizer. Rank 0 alone reads files; every rank leaves with the same state.
///
/// Ranks   collective. Errors  those of RunClaim::load; ConfigError: the checkpoint is beyond the
/// end of this run, or at it where there was something to change.
RunStart start_run(const StartRequest& request, Adapter& adapter, Optimizer& optimizer,
                   Communicator& world);

}  // namespace lora_dist
