// Reading checkpoints: verified in full before a value is used.
#include <filesystem>

#include "core/base/log.hpp"
#include "data/checkpoints/manifest.hpp"
#include "data/checkpoints/store.hpp"
#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// What cannot be read may be the run's own, and is named when it is skipped.
bool may_be_of_run(const std::string& folder, const RunIdentity& owner) {
  try {
    const CheckpointManifest manifest = read_checkpoint_manifest(folder);
    return is_of_run(manifest.run, manifest.step, owner);
  } catch (const Error&) {
    return true;
  }
}

/// Copies, so that rotation may remove the files.
NamedTensors read_tensors(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  NamedTensors tensors;
  for (size_t i = 0; i < file->weights().size(); ++i)
    tensors.emplace_back(file->weights()[i].name, file->tensor(i).clone());
  return tensors;
}

LoadedCheckpoint load_verified(const std::string& folder) {
  const CheckpointManifest manifest = read_checkpoint_manifest(folder);
  check_sizes(folder, manifest);
  check_hashes(folder, manifest);
  LoadedCheckpoint loaded{folder, {}, manifest.fingerprints, manifest.run};
  loaded.state = {.step = manifest.step,
                  .epoch = manifest.epoch,
                  .adapter = from_dialect(peft_dialect(),
                                          read_tensors(path_in(folder, kAdapterModelFile)), folder),
                  .optimizer = read_tensors(path_in(folder, kOptimizerFile)),
                  .trainer = read_json_file(path_in(folder, kTrainerStateFile))};
  return loaded;
}

}  // namespace

LoadedCheckpoint load_checkpoint(const std::string& folder) { return load_verified(folder); }

std::optional<LoadedCheckpoint> load_newest_checkpoint(const std::string& output_dir,
                                                       const RunIdentity& owner) {
  auto checkpoints = list_checkpoints(output_dir);
  std::erase_if(checkpoints, [&](const auto& checkpoint) {
    return (owner.steps_before > 0 && checkpoint.first <= owner.steps_before) ||
           !may_be_of_run(checkpoint.second, owner);
  });
  std::string newest_reason;
  for (const auto& [step, path] : checkpoints) {
    const std::string name = fs::path(path).filename().string();
    std::string reason;
    try {
      return load_verified(path);
    } catch (const Unverified& fault) {
      reason = fault.reason;
    } catch (const Error& error) {  // unreadable, or content that its own hash confirms and that
                                    // still is wrong
      reason = error.what();
    }
    log_warning(fmt::format("skipped {}: {}", name, reason));
    if (newest_reason.empty()) newest_reason = fmt::format("{}: {}", name, reason);
  }
  if (checkpoints.empty()) return std::nullopt;
  throw ModelError(
      {folder_label(output_dir),
       fmt::format("none of {} checkpoints verifies ({})", checkpoints.size(), newest_reason),
       {},
       "start anew or restore"});
}

}  // namespace lora_dist
