// RunClaim, where a start cannot have the folder: what lies there, and the ways on.
#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/io/files.hpp"
#include "launcher/run/mathematics.hpp"
#include "launcher/run/ownership.hpp"
#include "launcher/run/run_files.hpp"

namespace lora_dist {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string RunClaim::describe_record() const {
  const std::string exit = text_in(record_json_, "exit");
  const std::string state = exit == "done" || exit == "stopped early" ? "finished" : "not finished";
  const std::string id = record_->run_id.empty() ? "another run" : "run " + record_->run_id;
  return fmt::format("{} ({})", id, state);
}

/// What lies in the folder of no run of ours and could still be trained on; "" where nothing is.
std::string RunClaim::foreign_adapter() const {
  std::vector<std::string> folders = {output_dir_};
  for (const auto& [number, path] : list_checkpoints(output_dir_)) folders.push_back(path);
  for (const std::string& folder : folders)
    if (fs::exists(path_in(folder, kAdapterModelFile)) &&
        fs::exists(path_in(folder, kAdapterConfigFile)))
      return folder;
  return {};
}

void RunClaim::refuse_used_folder() const {
  const std::string where = folder_label(output_dir_), names = shown_names(used_);
  const std::string expected = "a folder without the files of another run";
  if (record_)
    throw ConfigError({.where = where,
                       .found = fmt::format("holds {}: {}", describe_record(), names),
                       .expected = expected,
                       .fix = "choose another output_dir, go on with resume_from_checkpoint (auto, "
                              "or the path of a checkpoint), or set overwrite_output_dir: true"});
  const std::string adapter = foreign_adapter();
  throw ConfigError(
      {.where = where,
       .found = fmt::format("holds {}, of no run that could be resumed", names),
       .expected = expected,
       .fix = fmt::format("choose another output_dir, {}, or set overwrite_output_dir: true to "
                          "remove what a run would write anew",
                          adapter.empty() ? "move them away"
                                          : fmt::format("train the adapter in it on with "
                                                        "resume_from_checkpoint: {}",
                                                        adapter))});
}

void RunClaim::refuse_changed_run(const Json& fingerprints) const {
  const Json saved = fingerprints_of(record_json_);
  const auto checkpoints = list_checkpoints(output_dir_);
  const std::string newest = checkpoints.empty() ? "" : checkpoints.front().second;
  std::string difference, resume;
  const auto changed = changed_keys(mathematics_in(saved), mathematics_in(fingerprints));
  if (!has_same("base", saved, fingerprints)) {
    difference = fmt::format("of another base model than {}", config_.model.base_model);
    resume = "set its base_model again to resume it";
  } else if (!changed.empty()) {
    const ChangedKey& first = changed.front();
    difference =
        fmt::format("with {} {}, this run asks for {}", first.key, first.saved, first.asked);
    if (changed.size() > 1) {
      std::vector<std::string> others;
      for (size_t i = 1; i < changed.size(); ++i) others.push_back(changed[i].key);
      difference += fmt::format(" (also other: {})", shown_names(others));
    }
    resume = fmt::format("set {}: {} again to resume it", first.key, first.saved);
    if (const std::string reason = why_it_counts(first.key); !reason.empty())
      difference += fmt::format(" ({})", reason);
    const bool fits = std::all_of(changed.begin(), changed.end(), [](const ChangedKey& key) {
      return state_fits_after_change_of(key.key);
    });
    if (fits && !newest.empty()) {
      std::string options;
      for (const ChangedKey& key : changed) options += " --allow-change " + key.key;
      resume += fmt::format(" (or go on from {} as another run with{})", newest, options);
    }
  } else {
    difference = "trained on other data than these";
    resume = newest.empty()
                 ? "give it its data again to resume it"
                 : fmt::format("train its adapter on with resume_from_checkpoint: {}", newest);
  }
  throw ConfigError(
      {.where = folder_label(output_dir_),
       .found = fmt::format("holds {} {}", describe_record(), difference),
       .expected = {},
       .fix = fmt::format("choose another output_dir, {}, or set overwrite_output_dir: true",
                          resume)});
}

}  // namespace lora_dist
