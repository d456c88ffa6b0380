// checkpoint-<step>/ folders: written under a temporary name, manifest last, renamed, rotated; read
// only when verified.
//
// Nothing in a checkpoint depends on the world size. There is no pointer file: the truth is the set
// of folders checkpoint-<step> whose manifest.json verifies (reliability 3.1, 3.2).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/sockets/checkpoint_store.hpp"
#include "data/checkpoints/manifest.hpp"
#include "data/exports/adapter_description.hpp"

namespace lora_dist {

struct StoreOptions {
  std::string output_dir;
  int64_t save_total_limit = 3;  // 0 keeps all
  std::string config_yaml;       // config.resolved.yaml of each checkpoint
  AdapterDescription description;
  nlohmann::ordered_json fingerprints;  // base, tokenizer, data set, config: kept in the manifest
  /// The base model's tokenizer files are copied from here into each checkpoint, so that PEFT and
  /// others open it alone; empty: none. The manifest does not list them: a run goes on without.
  std::string tokenizer_dir;
  bool with_chat_template = true;
  bool keep_best = false;  // never rotate away what the trainer's state calls best_model_checkpoint
  RunIdentity run;         // only checkpoints of this run are rotated or replaced
  /// Throws where the folder has become another run's: asked before a checkpoint is begun, and
  /// again before it gets its name.
  std::function<void()> require_lease = [] {};
};

/// Removes what dead runs left half-written or half-removed in `output_dir`: call it after a
/// checkpoint to resume from has been loaded.
///
/// Ranks   rank 0 makes one. Saving runs in a background thread; an error of it is thrown by the
/// next call.
std::unique_ptr<CheckpointStore> make_checkpoint_store(StoreOptions options);

struct LoadedCheckpoint {
  std::string path;
  TrainingState state;
  nlohmann::ordered_json fingerprints;
  RunIdentity run;
};

/// A checkpoint folder whose manifest, sizes and hashes verify. Errors  ModelError naming what
/// differs.
LoadedCheckpoint load_checkpoint(const std::string& folder);
/// The newest of the run `owner` that verifies in `output_dir`; each skipped one is a warning with
/// its reason. Those of other runs are passed over, as are numbers that were there before it.
/// Nothing: no checkpoint at all. Errors  ModelError: there are some and none verifies.
std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::string& output_dir,
                                                       const RunIdentity& owner = {});

}  // namespace lora_dist
