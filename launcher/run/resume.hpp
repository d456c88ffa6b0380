// Where a run starts: fresh, from another adapter, or exactly where a checkpoint stopped.
#pragma once

#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/communicator.hpp"
#include "core/config.hpp"
#include "core/optimizers/optimizer.hpp"

namespace lora_dist {

/// What a checkpoint has to agree with to be continued: see RunFacts::fingerprints.
struct StartRequest {
  const Config& config;
  const nlohmann::ordered_json& fingerprints;
  std::vector<std::string> allowed_changes;  // --allow-change
};

struct RunStart {
  int64_t steps_done = 0;
  std::string resumed_from;         // empty: a fresh run
  nlohmann::ordered_json trainer;   // trainer_state.json of the checkpoint
  std::vector<double> eval_losses;  // of the run so far
};

/// Keys that change the mathematics of a run, with their values: part of a checkpoint's
/// fingerprints.
nlohmann::ordered_json mathematics_of(const Config& config, int64_t slots_per_step);

/// Fills adapter and optimizer. Rank 0 alone reads files; every rank leaves with the same state.
///
/// Ranks   collective. Errors  ConfigError: nothing to resume from, or another mathematics;
/// ModelError: nothing verifies.
RunStart start_run(const StartRequest& request, Adapter& adapter, Optimizer& optimizer,
                   Communicator& world);

}  // namespace lora_dist
