#include "launcher/run/run_files.hpp"

#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/checkpoints/store.hpp"
#include "data/exports/tokenizer_files.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/io/lease.hpp"
#include "data/reports/reports.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEventsPrefix = "events.out.tfevents.";

/// "name.tmp-<nonce>" and "name.del-<nonce>" of what a run writes at the top of its folder.
bool is_leftover(const std::string& name) {
  constexpr size_t kNonceDigits = 16;
  if (name.starts_with(".rehearsal-")) return name.size() == 11 + kNonceDigits;
  if (name.size() < 5 + kNonceDigits) return false;
  const size_t mark = name.size() - kNonceDigits - 5;
  const std::string kind = name.substr(mark, 5), of = name.substr(0, mark);
  const std::vector<std::string>& ours = run_file_names();
  return (kind == ".tmp-" || kind == ".del-") &&
         (of == kLeaseFile || of.starts_with(kGenerationPrefix) ||
          std::find(ours.begin(), ours.end(), of) != ours.end());
}

/// Removes the files of a run, and the folder where nothing else is left in it.
bool empty_generation(const std::string& path) {
  std::vector<std::string> names;
  for (const std::string& name : run_file_names())
    if (!is_card_of_user(path_in(path, name))) names.push_back(name);
  const std::string logs = path_in(path, "logs");
  for (const std::string& events : event_files(logs)) remove_file(events);
  if (fs::exists(logs)) remove_known_files(logs, {});
  return remove_known_files(path, names);
}

}  // namespace

const std::vector<std::string>& run_file_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"adapter_config.json",
                                    "adapter_model.safetensors",
                                    "pytorch_lora_weights.safetensors",
                                    kCardFile,
                                    kOtherCardFile,
                                    "config.resolved.yaml",
                                    kRunFile,
                                    kMetricsFile,
                                    "report.html",
                                    "samples",
                                    "trainer_state.json",
                                    "train_results.json"};
    for (const std::string& name : tokenizer_file_names()) all.push_back(name);
    return all;
  }();
  return names;
}

std::vector<std::string> checkpoint_names(const std::string& output_dir) {
  std::vector<std::pair<int64_t, std::string>> folders;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir, ignored)) {
    const std::string name = entry.path().filename().string();
    const std::optional<int64_t> number = step_of_folder(name);
    if (number && entry.is_directory(ignored)) folders.emplace_back(*number, name);
  }
  std::ranges::sort(folders);
  std::vector<std::string> names;
  for (const auto& [number, name] : folders) names.push_back(name);
  return names;
}

std::vector<std::string> event_files(const std::string& log_dir) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(log_dir, ignored))
    if (entry.path().filename().string().starts_with(kEventsPrefix))
      files.push_back(entry.path().string());
  return files;
}

bool is_card_of_user(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  if ((name != kCardFile && name != kOtherCardFile) || !fs::exists(path)) return false;
  try {
    return !is_model_card(read_file(path));
  } catch (const Error&) {
    return true;
  }
}

std::string card_path(const std::string& output_dir) {
  const std::string usual = path_in(output_dir, kCardFile);
  return is_card_of_user(usual) ? path_in(output_dir, kOtherCardFile) : usual;
}

std::optional<nlohmann::ordered_json> read_record(const std::string& folder) {
  const std::string path = path_in(folder, kRunFile);
  if (!fs::exists(path)) return std::nullopt;
  try {
    nlohmann::ordered_json json = read_json_file(path);
    parse_run_identity(json, path);
    if (json.contains("run_id") || json.contains("fingerprints")) return json;
  } catch (const Error& error) {
    log_warning(fmt::format("{}; it counts as another program's", error.what()));
  }
  return std::nullopt;
}

std::optional<nlohmann::ordered_json> record_of_checkpoints(const std::string& output_dir) {
  for (const auto& [number, path] : list_checkpoints(output_dir)) {
    try {
      const CheckpointManifest manifest = read_checkpoint_manifest(path);
      nlohmann::ordered_json json = to_json(manifest.run);
      json["fingerprints"] = manifest.fingerprints;
      return json;
    } catch (const Error&) {
      continue;
    }
  }
  return std::nullopt;
}

RunIdentity run_of_source(const std::string& path) {
  try {
    if (fs::exists(path_in(path, kCheckpointManifestFile)))
      return read_checkpoint_manifest(path).run;
    const std::string folder =
        fs::is_directory(path) ? path : fs::path(path).parent_path().string();
    if (const std::optional<nlohmann::ordered_json> json = read_record(folder))
      return parse_run_identity(*json, path);
  } catch (const Error&) {
    // Its lineage is lost, not its tensors.
  }
  return {};
}

std::string text_in(const nlohmann::ordered_json& json, const std::string& key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

void move_into(const std::string& folder, const std::string& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  const std::string target = path_in(folder, fs::path(path).filename().string());
  std::error_code ignored;
  fs::remove_all(target, ignored);  // of a start that was cut off here
  rename_durably(path, target);
}

void remove_whole(const std::string& path) {
  if (!fs::exists(fs::symlink_status(path))) return;
  const std::string doomed = path + ".del-" + random_nonce();
  rename_durably(path, doomed);
  std::error_code problem;
  fs::remove_all(doomed, problem);
  if (problem)
    throw StorageError({.where = doomed,
                        .found = fmt::format("cannot be removed ({})", problem.message()),
                        .expected = {},
                        .fix = "remove it by hand, or choose another output_dir"});
}

bool is_generation(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return name.starts_with(kGenerationPrefix) && name.size() > kGenerationPrefix.size() &&
         name.find_first_not_of("0123456789", kGenerationPrefix.size()) == std::string::npos &&
         fs::is_directory(path);
}

void remove_generation(const std::string& path) {
  const std::string doomed = path + ".del-" + random_nonce();
  rename_durably(path, doomed);
  if (empty_generation(doomed) || !rename_to_free_name(doomed, path)) return;
  log_info(
      fmt::format("{}: what its run left is removed; what else lies there is no run's and "
                  "stays",
                  folder_label(path)));
}

void remove_leftovers_at_top(const std::string& output_dir) {
  std::vector<fs::path> leftovers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir, ignored))
    if (is_leftover(entry.path().filename().string())) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) {
    if (!path.filename().string().starts_with(kGenerationPrefix)) {
      fs::remove_all(path, ignored);
    } else if (!empty_generation(path.string())) {
      rename_to_free_name(path.string(), path.string().substr(0, path.string().rfind('.')));
    }
  }
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  const auto tidy = [&](const std::string& path) {
    std::string text = fs::weakly_canonical(path, ignored).string();
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    return text;
  };
  return tidy(a) == tidy(b);
}

std::string shown_names(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  if (names.size() <= kShown) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + kShown, ", "),
                     names.size() - kShown);
}

}  // namespace lora_dist
