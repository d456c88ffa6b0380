// manifest.json of a checkpoint: what the folder holds and how to see that it is all there.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"

namespace lora_dist {

inline constexpr const char* kCheckpointManifestFile = "manifest.json";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kTrainerStateFile = "trainer_state.json";
inline constexpr const char* kResolvedConfigFile = "config.resolved.yaml";
inline constexpr int64_t kOldestFormat = 1, kNewestFormat = 1;

/// Which run a folder or a checkpoint belongs to: kept in run.json and in each manifest.
///
/// A warm start or a changed setting inside the same folder begins a new *generation*: another run
/// with an id of its own, whose checkpoints are numbered on from those that lie there.
struct RunIdentity {
  std::string run_id;           // 16 hex digits; empty in what older versions wrote
  int64_t generation = 1;       // in its folder
  int64_t steps_before = 0;     // the number in a checkpoint's name is this plus its step
  int64_t epoch = 0;            // of the lease: grows with every start and with every take-over
  int64_t epoch_from_step = 0;  // the step that this start went on from
  /// What it descends from, oldest first: {run_id, path, kept_in, step, exact}. `path` is what the
  /// user named, `kept_in` where that lies now, `exact` whether optimizer and counters came along.
  nlohmann::ordered_json lineage = nlohmann::ordered_json::array();
};
nlohmann::ordered_json to_json(const RunIdentity& identity);
/// Keys that are missing have their defaults. Errors  ModelError naming `where`: a key of another
/// type.
RunIdentity parse_run_identity(const nlohmann::ordered_json& json, const std::string& where);
/// Whether a checkpoint of `step` was committed by the run `owner` and not by a former holder of
/// its lease that woke up after another process had gone on from an earlier step.
bool is_of_run(const RunIdentity& checkpoint, int64_t step, const RunIdentity& owner);

struct CheckpointManifest {
  struct File {
    std::string name;
    uint64_t size = 0;
    std::string sha256;
  };
  int64_t step = 0;
  double epoch = 0;
  std::vector<File> files;
  nlohmann::ordered_json fingerprints;
  RunIdentity run;
};

std::string checkpoint_manifest_text(const CheckpointManifest& manifest);

/// A checkpoint that does not verify: the full error, and its short form for a list
/// ("optimizer.safetensors hash differs").
struct Unverified : ModelError {
  Unverified(const Fault& fault, std::string reason)
      : ModelError(fault), reason(std::move(reason)) {}
  std::string reason;
};

/// Reads manifest.json; every file that we need is listed and every name stays inside. Throws
/// Unverified.
CheckpointManifest read_checkpoint_manifest(const std::string& folder);
/// Sizes of all files agree. Throws Unverified.
void check_sizes(const std::string& folder, const CheckpointManifest& manifest);
/// Hashes of all files agree. Throws Unverified.
void check_hashes(const std::string& folder, const CheckpointManifest& manifest);

/// Names of the files that a checkpoint consists of, the manifest first.
const std::vector<std::string>& checkpoint_file_names();

/// Folders checkpoint-<step> in `output_dir` as (step, path), newest first; those that hold no file
/// of a checkpoint are none. Empty where there is no such folder.
std::vector<std::pair<int64_t, std::string>> list_checkpoints(const std::string& output_dir);
/// <step> of a path ".../checkpoint-<step>", or nothing.
std::optional<int64_t> step_of_folder(const std::string& path);

}  // namespace lora_dist
