#include <algorithm>
#include <filesystem>

#include "data/checkpoints/manifest.hpp"
#include "data/checkpoints/store.hpp"
#include "data/exports/peft.hpp"
#include "data/inspect/kinds.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// The last value of each field of metrics.jsonl, or null: steps and evaluations have lines of
/// their own.
Json last_metrics(const std::string& path) {
  if (!fs::exists(path)) return nullptr;
  const std::string text = read_file(path);
  Json last;
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    Json line = Json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    if (line.is_object() && last.is_null()) last = Json::object();
    if (line.is_object()) last.update(line);
    begin = end + 1;
  }
  return last;
}

}  // namespace

nlohmann::ordered_json inspect_checkpoint(const std::string& folder) {
  Json result = {{"kind", "checkpoint"}, {"path", folder}};
  try {
    const CheckpointManifest manifest = read_checkpoint_manifest(folder);
    result["step"] = manifest.step;
    result["epoch"] = manifest.epoch;
    result["fingerprints"] = manifest.fingerprints;
    result["files"] = Json::array();
    for (const auto& file : manifest.files)
      result["files"].push_back(
          {{"name", file.name}, {"bytes", file.size}, {"sha256", file.sha256}});
    check_sizes(folder, manifest);
    check_hashes(folder, manifest);
    result["verified"] = true;
  } catch (const Unverified& fault) {
    result["verified"] = false;
    result["reason"] = fault.reason;
  }
  return result;
}

nlohmann::ordered_json inspect_run_file(const std::string& path) {
  return {{"kind", "run_file"}, {"path", path}, {"run", read_json_file(path)}};
}

nlohmann::ordered_json inspect_metrics(const std::string& path) {
  const std::string text = read_file(path);
  return {{"kind", "metrics"},
          {"path", path},
          {"lines", std::count(text.begin(), text.end(), '\n')},
          {"last_metrics", last_metrics(path)}};
}

nlohmann::ordered_json inspect_run(const std::string& output_dir) {
  const fs::path folder(output_dir);
  Json result = {{"kind", "run"}, {"path", output_dir}};
  result["run"] =
      fs::exists(folder / "run.json") ? read_json_file(folder / "run.json") : Json(nullptr);
  result["last_metrics"] = last_metrics(folder / "metrics.jsonl");
  result["adapter"] =
      fs::exists(folder / kAdapterConfigFile) ? inspect_adapter(output_dir) : Json(nullptr);
  result["checkpoints"] = Json::array();
  for (const auto& [step, path] : list_checkpoints(output_dir))
    result["checkpoints"].push_back(inspect_checkpoint(path));
  return result;
}

}  // namespace lora_dist
