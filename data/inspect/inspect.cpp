#include "data/inspect/inspect.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/base/error.hpp"
#include "data/checkpoints/manifest.hpp"
#include "data/exports/peft.hpp"
#include "data/inspect/kinds.hpp"
#include "data/io/files.hpp"
#include "data/io/hdf5_signature.hpp"
#include "data/io/printable.hpp"
#include "data/sources/file_kind.hpp"
#include "data/sources/file_names.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

std::string first_bytes(const std::string& path, size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

/// A header of a sensible length that begins as JSON does, or a name that promises weights: then
/// what is wrong with them is said.
bool holds_tensors(const std::string& path) {
  constexpr uint64_t kMaxHeaderBytes = 100'000'000;
  const std::string extension = lower_extension(path);
  for (const char* name : {".safetensors", ".bin", ".pt", ".pth", ".ckpt"})
    if (extension == name) return true;
  const std::string head = first_bytes(path, 9);
  uint64_t header_bytes = 0;
  for (size_t i = 0; i + 1 < head.size(); ++i)
    header_bytes |= uint64_t{static_cast<unsigned char>(head[i])} << (8 * i);
  return head.size() == 9 && head[8] == '{' && header_bytes <= kMaxHeaderBytes;
}

/// A program or a picture has lines, too, which nobody wants to read.
void require_text(const std::string& path) {
  constexpr size_t kHeadBytes = 4096;
  const bool is_binary = first_bytes(path, kHeadBytes).find('\0') != std::string::npos;
  if (is_binary && foreign_kind(path).name.empty())
    throw DataError(
        {path, "a binary file of no known kind", "weights, a run, an adapter or data", {}});
}

nlohmann::ordered_json inspect_file(const std::string& path) {
  if (is_hdf5(path)) return inspect_part(path);
  const std::string magic = first_bytes(path, 4);
  const auto not_yet = [&](const char* kind) {
    throw ModelError(
        {path, fmt::format("{} is not available yet", kind), {}, "inspect a safetensors file"});
  };
  if (magic == "GGUF") not_yet("inspecting GGUF files");
  if (magic == "tjgg") not_yet("inspecting GGML files");
  if (!holds_tensors(path)) {
    nlohmann::ordered_json named = inspect_named_file(path);
    if (!named.is_null()) return named;
    require_text(path);
    return inspect_data(path);
  }
  if (!find_dialect(path)) return inspect_safetensors(path);
  try {
    return inspect_adapter(path);
  } catch (const ModelError&) {
    return inspect_safetensors(path);  // tensors of an adapter whose description is lost
  }
}

/// What to do about a folder of nothing known: a command for one of its files, or where to look on.
std::string way_on_from(const std::string& folder) {
  constexpr size_t kShown = 4;
  std::vector<std::string> folders, commands;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.is_directory()) {
      folders.push_back(printable(entry.path().filename().string()));
    } else if (const auto named = inspect_named_file(path); named.contains("next")) {
      commands.push_back(named["next"].get<std::string>());
    }
  }
  std::ranges::sort(folders);
  if (!commands.empty()) return fmt::format("try `{}`", std::ranges::min(commands));
  if (folders.empty()) return {};
  if (folders.size() > kShown) folders.resize(kShown);
  return fmt::format("look into a folder of it: {}", fmt::join(folders, ", "));
}

nlohmann::ordered_json inspect_folder(const std::string& path) {
  const std::string kind = kind_of_folder(path);
  if (kind == "checkpoint") return inspect_checkpoint(path);
  if (kind == "run") return inspect_run(path);
  if (kind == "adapter") return inspect_adapter(path);
  if (kind == "base_model") return inspect_base_model(path);
  if (kind == "prepared") return inspect_prepared(path);
  if (kind == "prepared_sets") return inspect_prepared_sets(path);
  try {
    return inspect_data(path);
  } catch (const DataError&) {
    throw ConfigError({folder_label(path), "holds nothing that lora-dist knows",
                       "a run, a checkpoint, an adapter, a base model, data or prepared data",
                       way_on_from(path)});
  }
}

}  // namespace

std::string kind_of_folder(const std::string& path) {
  const auto has = [&](const char* name) { return fs::exists(fs::path(path) / name); };
  // A run folder is an adapter folder too, and a checkpoint is; the larger thing goes first.
  if (has(kOptimizerFile) || (step_of_folder(path) && has(kAdapterConfigFile))) return "checkpoint";
  if (has("run.json") || has("metrics.jsonl") || !list_checkpoints(path).empty()) return "run";
  if (find_dialect(path)) return "adapter";
  if (has("config.json")) return "base_model";
  if (is_prepared_set(path)) return "prepared";
  return prepared_sets_in(path).empty() ? "" : "prepared_sets";
}

nlohmann::ordered_json inspect_path(const std::string& path) {
  if (!fs::exists(path)) throw ConfigError({path, "no such file or folder", {}, "check the path"});
  if (!fs::is_directory(path) && !fs::is_regular_file(path))
    throw ConfigError({path, "is no regular file", "a file or folder", {}});
  return fs::is_directory(path) ? inspect_folder(path) : inspect_file(path);
}

}  // namespace lora_dist
