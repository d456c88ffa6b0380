// Writing a base model: what `merge` leaves behind.
#include <algorithm>
#include <filesystem>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/weights/base_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCopiedFiles[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "tokenizer.model",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "LICENSE",
                                        "LICENSE.txt",
                                        "USE_POLICY.md",
                                        "NOTICE"};

void write_new_file(const std::string& path, std::string_view content) {
  NewFile file(path);
  file.write(content);
  file.close();
}

/// Consecutive runs of weights, as indices, none larger than the limit unless a single tensor is.
std::vector<std::vector<size_t>> cut_into_shards(const std::vector<WeightInfo>& weights,
                                                 uint64_t max_shard_bytes) {
  std::vector<std::vector<size_t>> shards(1);
  uint64_t filled_bytes = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint64_t bytes = num_bytes(weights[i]);
    if (filled_bytes > 0 && filled_bytes + bytes > max_shard_bytes) {
      shards.emplace_back();
      filled_bytes = 0;
    }
    shards.back().push_back(i);
    filled_bytes += bytes;
  }
  return shards;
}

void write_shard(const std::string& path, const NewBaseFolder& folder,
                 const std::vector<size_t>& shard) {
  std::vector<WeightInfo> weights;
  for (const size_t index : shard) weights.push_back(folder.weights[index]);
  write_safetensors(path, weights, [&](size_t i) { return folder.tensor(shard[i]); },
                    {{"format", "pt"}});
}

void write_weights(const NewBaseFolder& folder, const fs::path& target) {
  const auto shards = cut_into_shards(folder.weights, folder.max_shard_bytes);
  if (shards.size() == 1) {
    write_shard(target / "model.safetensors", folder, shards[0]);
    return;
  }
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  nlohmann::json weight_map;
  uint64_t total_bytes = 0;
  for (size_t number = 0; number < shards.size(); ++number) {
    const std::string name =
        fmt::format("model-{:05}-of-{:05}.safetensors", number + 1, shards.size());
    write_shard(target / name, folder, shards[number]);
    for (const size_t index : shards[number]) {
      weight_map[folder.weights[index].name] = name;
      total_bytes += num_bytes(folder.weights[index]);
    }
  }
  map["metadata"] = {{"total_size", total_bytes}};
  map["weight_map"] = weight_map;
  write_new_file(target / "model.safetensors.index.json", map.dump(2) + "\n");
}

/// The type that most bytes of the weights have, as transformers spells it; empty for one it does
/// not know.
std::string prevailing_dtype(const std::vector<WeightInfo>& weights) {
  std::map<at::ScalarType, uint64_t> bytes;
  for (const WeightInfo& info : weights) bytes[*info.format->plain] += num_bytes(info);
  if (bytes.empty()) return {};
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  switch (most->first) {
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    default:
      return {};
  }
}

void write_config(const NewBaseFolder& folder, const fs::path& target) {
  nlohmann::ordered_json config = read_model_config(folder.source_dir);
  const std::string dtype = prevailing_dtype(folder.weights);
  const char* key =
      config.contains("torch_dtype") ? "torch_dtype" : "dtype";  // before and since transformers v5
  if (!dtype.empty()) config[key] = dtype;
  if (folder.tied_embeddings) config["tie_word_embeddings"] = *folder.tied_embeddings;
  write_new_file(target / "config.json", config.dump(2) + "\n");
}

void require_unused(const std::string& output_dir) {
  std::error_code ignored;
  if (!fs::exists(output_dir)) return;
  if (fs::is_directory(output_dir) && fs::is_empty(output_dir, ignored)) return;
  throw ConfigError({folder_label(output_dir), "exists and is not empty", "a new folder",
                     "remove it or choose another --output"});
}

}  // namespace

void write_base_folder(const NewBaseFolder& folder) {
  require_unused(folder.output_dir);
  std::string target = folder.output_dir;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  const fs::path parent = fs::path(target).parent_path();
  if (!parent.empty()) make_folders(parent.string());

  const std::string temporary = temporary_name(target);
  make_folder(temporary);
  try {
    write_weights(folder, temporary);
    for (const char* name : kCopiedFiles) {
      const fs::path source = fs::path(folder.source_dir) / name;
      if (fs::exists(source)) write_new_file(fs::path(temporary) / name, read_file(source));
    }
    write_config(folder, temporary);
    sync_folder(temporary);
    rename_durably(temporary, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace lora_dist
