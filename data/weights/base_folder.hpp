// A base model as a folder in Hugging Face layout: config.json, safetensors in one file or several,
// tokenizer files.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/sockets/weight_source.hpp"
#include "data/weights/safetensors.hpp"

namespace lora_dist {

/// The weights of a Hugging Face folder: model.safetensors, or the files of
/// model.safetensors.index.json; mapped. Where several files hold a tensor the index decides, with
/// a warning; so a tensor that the index names and no file holds. Errors  ModelError: only pickles
/// there, index names a missing file or leaves the folder.
std::unique_ptr<WeightSource> open_base_weights(const std::string& model_dir);

/// config.json of a base model. Errors  ModelError: no such folder, no config.json, broken JSON,
/// quantised weights.
nlohmann::ordered_json read_model_config(const std::string& model_dir);

struct NewBaseFolder {
  std::string source_dir;  // config.json, generation_config.json and the tokenizer's files are
                           // copied from here
  std::string output_dir;  // must not exist, or be empty
  std::vector<WeightInfo> weights;
  TensorSupplier tensor;  // of weights[index], asked tensor by tensor
  uint64_t max_shard_bytes =
      5'000'000'000;  // beyond it several files and an index, as transformers writes them
  std::optional<bool> tied_embeddings = {};  // tie_word_embeddings; as in source_dir where not set
};
/// Writes a base model under a temporary name and renames it: a reader sees all of it or nothing.
/// `dtype` in config.json becomes the type of most of the weights. Errors  ConfigError (output_dir
/// is in use), StorageError.
void write_base_folder(const NewBaseFolder& folder);

}  // namespace lora_dist
