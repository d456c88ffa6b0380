#include "data/checkpoints/manifest.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kFolderPrefix = "checkpoint-";
constexpr size_t kMaxManifestBytes = size_t{4} << 20;

/// A fault of the manifest itself: where is the file, the short form names it.
[[noreturn]] void fail_manifest(const std::string& path, const std::string& found,
                                const std::string& fix = {}) {
  throw Unverified({path, found, {}, fix}, fmt::format("{}: {}", kCheckpointManifestFile, found));
}

/// A fault of the folder: where is the folder.
[[noreturn]] void fail_folder(const std::string& folder, const std::string& found,
                              const std::string& fix = {}) {
  throw Unverified({folder, found, {}, fix}, found);
}

/// The newest other checkpoint beside `folder` that looks complete, as advice.
std::string neighbour_advice(const std::string& folder) {
  const fs::path parent = fs::path(folder).parent_path();
  for (const auto& [step, path] : list_checkpoints(parent.empty() ? "." : parent.string())) {
    if (fs::path(path).filename() == fs::path(folder).filename()) continue;
    if (fs::exists(path_in(path, kCheckpointManifestFile)))
      return "use " + fs::path(path).filename().string();
  }
  return "start without resume_from_checkpoint";
}

void check_format(const nlohmann::ordered_json& json, const std::string& path) {
  const int64_t format = json_integer(json, "format", path);
  if (format >= kOldestFormat && format <= kNewestFormat) return;
  const std::string range = kOldestFormat == kNewestFormat
                                ? fmt::format("{}", kNewestFormat)
                                : fmt::format("{} to {}", kOldestFormat, kNewestFormat);
  fail_manifest(path, fmt::format("format {}, this build reads {}", format, range),
                "update lora-dist");
}

CheckpointManifest::File parse_file(const nlohmann::ordered_json& entry, const std::string& path) {
  const CheckpointManifest::File file{json_text(entry, "name", path),
                                      static_cast<uint64_t>(json_integer(entry, "size", path)),
                                      json_text(entry, "sha256", path)};
  if (file.name.empty() || file.name == "." || file.name == ".." ||
      file.name.find('/') != std::string::npos)
    fail_manifest(path, fmt::format("file name '{}' leaves the checkpoint", printable(file.name)));
  return file;
}

CheckpointManifest parse_manifest(const nlohmann::ordered_json& json, const std::string& path) {
  check_format(json, path);
  CheckpointManifest manifest{json_integer(json, "step", path),
                              json_number(json, "epoch", path),
                              {},
                              json_member(json, "fingerprints", path),
                              parse_run_identity(json.value("run", Json::object()), path)};
  const auto& files = json_member(json, "files", path);
  if (!files.is_array()) fail_manifest(path, "'files' is no list");
  for (const auto& entry : files) {
    if (!entry.is_object()) fail_manifest(path, "'files' holds something else than objects");
    manifest.files.push_back(parse_file(entry, path));
  }
  for (const std::string& needed : checkpoint_file_names()) {
    if (needed == kCheckpointManifestFile) continue;
    const auto is_needed = [&](const CheckpointManifest::File& file) {
      return file.name == needed;
    };
    if (std::none_of(manifest.files.begin(), manifest.files.end(), is_needed))
      fail_manifest(path, fmt::format("lists no {}", needed));
  }
  return manifest;
}

}  // namespace

nlohmann::ordered_json to_json(const RunIdentity& identity) {
  return {{"run_id", identity.run_id},
          {"generation", identity.generation},
          {"steps_before", identity.steps_before},
          {"lease_epoch", identity.epoch},
          {"lease_epoch_from_step", identity.epoch_from_step},
          {"lineage", identity.lineage}};
}

RunIdentity parse_run_identity(const nlohmann::ordered_json& json, const std::string& where) {
  RunIdentity identity;
  const auto read_integer = [&](const char* key, int64_t& value) {
    if (json.contains(key)) value = json_integer(json, key, where);
  };
  if (json.contains("run_id")) identity.run_id = json_text(json, "run_id", where);
  read_integer("generation", identity.generation);
  read_integer("steps_before", identity.steps_before);
  read_integer("lease_epoch", identity.epoch);
  read_integer("lease_epoch_from_step", identity.epoch_from_step);
  if (json.contains("lineage")) identity.lineage = json["lineage"];
  if (!identity.lineage.is_array())
    throw ModelError(
        {where, fmt::format("'lineage' is {}", printable(identity.lineage.dump())), "a list", {}});
  return identity;
}

bool is_of_run(const RunIdentity& checkpoint, int64_t step, const RunIdentity& owner) {
  const bool is_late = checkpoint.epoch < owner.epoch && step > owner.epoch_from_step;
  return checkpoint.run_id == owner.run_id && !is_late;
}

std::string checkpoint_manifest_text(const CheckpointManifest& manifest) {
  nlohmann::ordered_json json = {{"format", kNewestFormat},
                                 {"version", LORA_DIST_VERSION},
                                 {"step", manifest.step},
                                 {"epoch", manifest.epoch},
                                 {"run", to_json(manifest.run)},
                                 {"fingerprints", manifest.fingerprints},
                                 {"files", nlohmann::ordered_json::array()}};
  for (const CheckpointManifest::File& file : manifest.files)
    json["files"].push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  return utf8_dump(json, /*indent=*/2) + "\n";
}

CheckpointManifest read_checkpoint_manifest(const std::string& folder) {
  if (!fs::is_directory(folder))
    fail_folder(folder, fs::exists(folder) ? "is no folder" : "no such checkpoint",
                neighbour_advice(folder));
  const std::string path = path_in(folder, kCheckpointManifestFile);
  if (!fs::exists(path))
    fail_folder(folder, fmt::format("no {}, the save was not finished", kCheckpointManifestFile),
                neighbour_advice(folder));
  CheckpointManifest manifest;
  try {
    manifest = parse_manifest(read_json_file(path, kMaxManifestBytes), path);
  } catch (const Unverified&) {
    throw;
  } catch (
      const Error& error) {  // broken JSON, a key of the wrong type, a file that cannot be read
    throw Unverified({path,
                      std::string(error.what())
                          .substr(std::min(std::string(error.what()).size(), path.size() + 2)),
                      {},
                      {}},
                     fmt::format("{} is damaged", kCheckpointManifestFile));
  }
  const auto named_step = step_of_folder(folder);
  const int64_t number = manifest.run.steps_before + manifest.step;
  if (named_step && *named_step != number)
    fail_manifest(path, fmt::format("step {} in a folder of step {}", number, *named_step));
  return manifest;
}

void check_sizes(const std::string& folder, const CheckpointManifest& manifest) {
  for (const CheckpointManifest::File& file : manifest.files) {
    std::error_code problem;
    const uint64_t size = fs::file_size(path_in(folder, file.name), problem);
    if (problem) fail_folder(folder, fmt::format("{} is missing", printable(file.name)));
    if (size != file.size)
      fail_folder(folder, fmt::format("{} has {} bytes instead of {}", printable(file.name), size,
                                      file.size));
  }
}

void check_hashes(const std::string& folder, const CheckpointManifest& manifest) {
  for (const CheckpointManifest::File& file : manifest.files)
    if (file_sha256(path_in(folder, file.name)) != file.sha256)
      fail_folder(folder, fmt::format("{} hash differs", printable(file.name)));
}

std::optional<int64_t> step_of_folder(const std::string& path) {
  std::string name = fs::path(path).filename().string();
  if (name.empty()) name = fs::path(path).parent_path().filename().string();  // "checkpoint-5/"
  if (!name.starts_with(kFolderPrefix)) return std::nullopt;
  int64_t step = 0;
  const char* first = name.data() + kFolderPrefix.size();
  const char* last = name.data() + name.size();
  const auto [end, problem] = std::from_chars(first, last, step);
  if (problem != std::errc() || end != last || step < 0) return std::nullopt;
  return step;
}

const std::vector<std::string>& checkpoint_file_names() {
  static const std::vector<std::string> names = {kCheckpointManifestFile, kAdapterConfigFile,
                                                 kAdapterModelFile,       kOptimizerFile,
                                                 kTrainerStateFile,       kResolvedConfigFile};
  return names;
}

std::vector<std::pair<int64_t, std::string>> list_checkpoints(const std::string& output_dir) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code problem;
  const auto holds_any = [](const std::string& folder) {
    return std::ranges::any_of(checkpoint_file_names(), [&](const std::string& name) {
      return fs::exists(path_in(folder, name));
    });
  };
  for (const auto& entry : fs::directory_iterator(output_dir, problem)) {
    const auto step = step_of_folder(entry.path().string());
    if (step && holds_any(entry.path().string())) found.emplace_back(*step, entry.path().string());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

}  // namespace lora_dist
