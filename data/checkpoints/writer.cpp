#include "data/checkpoints/writer.hpp"

#include <filesystem>

#include "core/base/log.hpp"
#include "data/checkpoints/manifest.hpp"
#include "data/exports/peft.hpp"
#include "data/exports/tokenizer_files.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

std::string folder_of_step(const StoreOptions& options, int64_t step) {
  return (fs::path(options.output_dir) /
          fmt::format("checkpoint-{}", options.run.steps_before + step))
      .string();
}

/// Fills a new folder: each file durable before the manifest that vouches for it.
class FolderWriter {
 public:
  FolderWriter(const std::string& folder, const TrainingState& state) : folder_(folder) {
    manifest_.step = state.step;
    manifest_.epoch = state.epoch;
  }

  void add_text(const char* name, std::string_view text) {
    add(name, [&](NewFile& file) { file.write(text); });
  }
  void add_tensors(const char* name, const NamedTensors& tensors, const TensorMetadata& metadata) {
    add(name, [&](NewFile& file) { write_safetensors(file, tensors, metadata); });
  }
  void finish(const nlohmann::ordered_json& fingerprints, const RunIdentity& run) {
    manifest_.fingerprints = fingerprints;
    manifest_.run = run;
    NewFile file((fs::path(folder_) / kCheckpointManifestFile).string());
    file.write(checkpoint_manifest_text(manifest_));
    file.close();
    sync_folder(folder_);
  }

 private:
  template <class Fill>
  void add(const char* name, Fill&& fill) {
    NewFile file((fs::path(folder_) / name).string());
    fill(file);
    const std::string sha256 = file.close();
    manifest_.files.push_back({name, file.size(), sha256});
  }

  std::string folder_;
  CheckpointManifest manifest_;
};

/// A complete checkpoint under a temporary name; the name.
std::string write_temporary(const StoreOptions& options, const TrainingState& state) {
  const std::string folder = temporary_name(folder_of_step(options, state.step));
  make_folder(folder);
  try {
    FolderWriter writer(folder, state);
    writer.add_text(kAdapterConfigFile, adapter_config_json(options.description, state.adapter));
    writer.add_tensors(kAdapterModelFile, in_dialect(peft_dialect(), state.adapter),
                       adapter_metadata(options.description, state.adapter));
    writer.add_tensors(kOptimizerFile, state.optimizer, {{"format", "pt"}});
    writer.add_text(kTrainerStateFile,
                    sorted_json_text(state.trainer.is_null() ? nlohmann::ordered_json::object()
                                                             : state.trainer));
    writer.add_text(kResolvedConfigFile, options.config_yaml);
    if (!options.tokenizer_dir.empty())
      copy_tokenizer_files(options.tokenizer_dir, folder, options.with_chat_template);
    writer.finish(options.fingerprints, options.run);
  } catch (const Error&) {
    // On a full disk the half-written files would keep the next attempt from fitting.
    try {
      remove_folder(folder);
    } catch (const Error&) {
      // The next start removes it.
    }
    throw;
  }
  return folder;
}

/// All that a run may write there, the manifest first.
const std::vector<std::string>& names_in_a_checkpoint() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = checkpoint_file_names();
    for (const std::string& name : tokenizer_file_names()) all.push_back(name);
    return all;
  }();
  return names;
}

/// Empties a checkpoint that `heir` has replaced: what is no run's moves over.
void hand_over(const std::string& doomed, const std::string& heir) {
  if (remove_known_files(doomed, names_in_a_checkpoint())) return;
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(doomed)) others.push_back(entry.path());
  for (const fs::path& path : others)
    rename_to_free_name(path.string(), (fs::path(heir) / path.filename()).string());
  remove_known_files(doomed, {});
}

/// Complete by its sizes, and not another run's.
bool may_be_rotated(const std::string& folder, const RunIdentity& owner) {
  try {
    const CheckpointManifest manifest = read_checkpoint_manifest(folder);
    check_sizes(folder, manifest);
    return manifest.run.run_id == owner.run_id;
  } catch (const Error&) {
    return false;
  }
}

/// A name that another run's checkpoint has got meanwhile is not taken from it.
void require_own_name(const std::string& target, const RunIdentity& owner) {
  std::string found;
  try {
    found = read_checkpoint_manifest(target).run.run_id;
  } catch (const Error&) {
    return;  // none there, or a damaged one of our own
  }
  if (found == owner.run_id) return;
  throw LockedError({.where = target,
                     .found = fmt::format("is a checkpoint of run '{}'", found),
                     .expected = fmt::format("none, or one of run '{}'", owner.run_id),
                     .fix = "move it away, or choose another output_dir"});
}

/// Name of the folder that rotation must spare, or "".
std::string best_folder(const StoreOptions& options, const TrainingState& newest) {
  const auto best = newest.trainer.find("best_model_checkpoint");
  if (!options.keep_best || best == newest.trainer.end() || !best->is_string()) return {};
  return fs::path(best->get<std::string>()).filename().string();
}

}  // namespace

void write_checkpoint(const StoreOptions& options, const TrainingState& state) {
  const std::string target = folder_of_step(options, state.step);
  options.require_lease();
  const std::string temporary = with_one_rewrite([&] { return write_temporary(options, state); });
  try {
    options.require_lease();
    require_own_name(target, options.run);
  } catch (const Error&) {
    remove_folder(temporary, kCheckpointManifestFile);
    throw;
  }
  if (!rename_to_free_name(temporary, target)) {
    // A run that went back to an earlier step comes by here again.
    std::string former = temporary;
    if (!exchange_names(temporary, target)) {
      former = target + ".del-" + random_nonce();
      rename_durably(target, former);
      rename_durably(temporary, target);
    }
    hand_over(former, target);
  }
  log_info(fmt::format("{} committed", fs::path(target).filename().string()));
}

void rotate_checkpoints(const StoreOptions& options, const TrainingState& newest) {
  if (options.save_total_limit <= 0) return;
  const std::string spared = best_folder(options, newest);
  std::vector<std::string> surplus;
  const std::string newest_folder = folder_of_step(options, newest.step);
  int64_t num_kept = 1;  // the newest
  for (const auto& [step, path] : list_checkpoints(options.output_dir)) {
    // Damaged ones and those of other runs neither count nor go: a person may want them.
    if (path == newest_folder || !may_be_rotated(path, options.run)) continue;
    if (fs::path(path).filename().string() == spared) continue;
    if (++num_kept > options.save_total_limit) surplus.push_back(path);
  }
  if (surplus.empty()) return;
  check_hashes(newest_folder, read_checkpoint_manifest(newest_folder));
  for (const std::string& path : surplus) remove_checkpoint(path);
}

// Renamed first and emptied manifest first: at no moment does a partly removed checkpoint look like
// one.
void remove_checkpoint(const std::string& folder) {
  const std::string doomed = folder + ".del-" + random_nonce();
  rename_durably(folder, doomed);
  if (remove_known_files(doomed, names_in_a_checkpoint())) return;
  if (rename_to_free_name(doomed, folder))
    log_info(
        fmt::format("{}: its checkpoint is removed; what else lies there is no run's and stays",
                    folder_label(folder)));
}

void remove_leftovers(const std::string& output_dir) {
  std::error_code problem;
  std::vector<std::string> leftovers;
  for (const auto& entry : fs::directory_iterator(output_dir, problem)) {
    const std::string name = entry.path().filename().string();
    const size_t mark = std::min(name.find(".tmp-"), name.find(".del-"));
    if (mark != std::string::npos && step_of_folder(name.substr(0, mark)))
      leftovers.push_back(entry.path().string());
  }
  for (const std::string& path : leftovers) {
    const std::string name = path.substr(0, path.rfind('.'));
    if (remove_known_files(path, names_in_a_checkpoint())) continue;
    if (!rename_to_free_name(path, name)) hand_over(path, name);
  }
}

}  // namespace lora_dist
