// manifest.json of a checkpoint: what the folder holds and how to see that it is all there.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace lora_dist {

inline constexpr const char* kCheckpointManifestFile = "manifest.json";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kTrainerStateFile = "trainer_state.json";
inline constexpr const char* kResolvedConfigFile = "config.resolved.yaml";
inline constexpr int64_t kOldestFormat = 1, kNewestFormat = 1;

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

/// Folders checkpoint-<step> in `output_dir` as (step, path), newest first. Empty where there is no
/// such folder.
std::vector<std::pair<int64_t, std::string>> list_checkpoints(const std::string& output_dir);
/// <step> of a path ".../checkpoint-<step>", or nothing.
std::optional<int64_t> step_of_folder(const std::string& path);

}  // namespace lora_dist
