#include "data/inspect/inspect.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"
#include "data/checkpoints/manifest.hpp"
#include "data/exports/adapter_config.hpp"
#include "data/files.hpp"
#include "data/inspect/kinds.hpp"
#include "data/shards/part_file.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

std::string first_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(4, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

bool is_adapter_file(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  const auto& weights = file->weights();
  return !weights.empty() &&
         std::all_of(weights.begin(), weights.end(),
                     [](const WeightInfo& info) { return !module_of(info.name).empty(); });
}

nlohmann::ordered_json inspect_file(const std::string& path) {
  if (is_hdf5(path)) return inspect_part(path);
  const std::string magic = first_bytes(path);
  const auto not_yet = [&](const char* kind) {
    throw ModelError(
        {path, fmt::format("{} is not available yet", kind), {}, "inspect a safetensors file"});
  };
  if (magic == "GGUF") not_yet("inspecting GGUF files");
  if (magic == "tjgg") not_yet("inspecting GGML files");
  if (!is_adapter_file(path)) return inspect_safetensors(path);
  try {
    return inspect_adapter(path);
  } catch (const ModelError&) {
    return inspect_safetensors(path);  // tensors of an adapter whose description is lost
  }
}

nlohmann::ordered_json inspect_folder(const std::string& path) {
  const auto has = [&](const char* name) { return fs::exists(fs::path(path) / name); };
  // A run folder is an adapter folder too, and a checkpoint is; the larger thing goes first.
  if (has(kOptimizerFile) || (step_of_folder(path) && has(kAdapterConfigFile)))
    return inspect_checkpoint(path);
  if (has("run.json") || has("metrics.jsonl") || !list_checkpoints(path).empty())
    return inspect_run(path);
  if (has(kAdapterConfigFile)) return inspect_adapter(path);
  if (has("config.json")) return inspect_base_model(path);
  if (has("part-0000.h5") && has("manifest.json")) return inspect_prepared(path);
  throw ConfigError({folder_label(path),
                     "holds nothing that lora-dist knows",
                     "a run, a checkpoint, an adapter, a base model or prepared data",
                     {}});
}

}  // namespace

nlohmann::ordered_json inspect_path(const std::string& path) {
  if (!fs::exists(path)) throw ConfigError({path, "no such file or folder", {}, {}});
  if (!fs::is_directory(path) && !fs::is_regular_file(path))
    throw ConfigError({path, "is no regular file", "a file or folder", {}});
  return fs::is_directory(path) ? inspect_folder(path) : inspect_file(path);
}

}  // namespace lora_dist
