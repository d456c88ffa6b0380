#include "launcher/run/run_files.hpp"

#include <algorithm>
#include <filesystem>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/checkpoints/store.hpp"
#include "data/exports/tokenizer_files.hpp"
#include "data/files.hpp"
#include "data/json.hpp"
#include "data/lease.hpp"
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

}  // namespace

const std::vector<std::string>& run_file_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"adapter_config.json",
                                    "adapter_model.safetensors",
                                    "pytorch_lora_weights.safetensors",
                                    "README.md",
                                    "config.resolved.yaml",
                                    "run.json",
                                    "metrics.jsonl",
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
  std::vector<std::string> names;
  for (const auto& [number, path] : list_checkpoints(output_dir))
    names.push_back(fs::path(path).filename().string());
  std::reverse(names.begin(), names.end());
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

bool is_our_card(const std::string& path) {
  try {
    return is_model_card(read_file(path));
  } catch (const Error&) {
    return false;
  }
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

void remove_leftovers_at_top(const std::string& output_dir) {
  std::vector<fs::path> leftovers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output_dir, ignored))
    if (is_leftover(entry.path().filename().string())) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) fs::remove_all(path, ignored);
}

std::string path_in(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
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
