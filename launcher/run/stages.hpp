// The stages of a start, from a config to a run that can train. Each is a value that the next
// function takes; a stage has all that those before it made.
//
// Ranks   every function here is a collective: all ranks call it, and what ends one of them ends
// all.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/adapters/adapter.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/planning/fit.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/ownership.hpp"
#include "launcher/run/resume.hpp"
#include "launcher/run/run_data.hpp"
#include "launcher/run/training.hpp"

namespace lora_dist {

/// The ranks have met, and the folder is this run's, or was looked at only.
struct JoinedRun {
  const Config& asked;  // as it was written; outlives the run
  Config config;        // with the global batch of the run that is continued
  WorldInfo world;
  bool is_dry = false;  // nothing is trained, and nothing is written into the folder
  at::Device device = at::kCPU;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Communicator> host;  // the ranks of this host; null unless sharding is hybrid
  Sharding sharding = Sharding::shared;
  std::unique_ptr<RunClaim> claim;  // rank 0 only
};
/// Errors  ConfigError, LockedError: the folder is another run's; CommError; StorageError.
JoinedRun join_run(const Config& config, const WorldInfo& world, const TrainOptions& options,
                   bool is_dry);

/// The base is open, mapped only: what it says is checked, and nothing is allocated.
struct OpenedRun : JoinedRun {
  std::string base_dir;
  bool needs_tokenizer = true;
  int64_t program_bytes = 0;  // of the program itself
  OpenedModel base;
  std::vector<std::string> targets;     // module paths that receive an adapter
  nlohmann::ordered_json fingerprints;  // of base, tokenizer, mathematics, later data
};
/// Errors  ModelError, ConfigError, StorageError: what would end the run after its data, and is
/// known without them.
OpenedRun open_base(JoinedRun run);

/// The data are prepared, and whose the folder is has been decided with them.
struct PreparedRun : OpenedRun {
  RunData data;
  bool is_finished = false;  // this very run has trained to its end
};
/// Errors  DataError, ConfigError, StorageError.
PreparedRun prepare_data(OpenedRun run);

/// It fits into memory, weights are where they will be, adapter and optimizer are restored.
struct ReadyRun : PreparedRun {
  Fit fit;  // what the run takes, and how it fits into memory
  std::unique_ptr<Adapter> adapter;
  std::unique_ptr<Optimizer> optimizer;
  RunStart start;
};
/// Prints the banner. Errors  MemoryError with a setting that would fit; ModelError, StorageError.
ReadyRun make_ready(PreparedRun run);

/// An adapter as the config says, on the targets, with no values yet.
std::unique_ptr<Adapter> fresh_adapter(const OpenedRun& run, at::Device device);
/// How the base is opened for this run; `recompute_blocks` is what its fit chose.
OpenRequest open_request(const OpenedRun& run, bool recompute_blocks);
int64_t num_held_out(const RunData& data);

}  // namespace lora_dist
