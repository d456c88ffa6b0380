// The safetensors file format: strict reader over a memory map, and a crash-safe writer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/training_state.hpp"
#include "core/weight_source.hpp"

namespace lora_dist {

class SafetensorsFile {
 public:
  /// Maps and checks the whole header (formats 8.1). Errors  ModelError, StorageError.
  static std::shared_ptr<SafetensorsFile> open(const std::string& path);
  virtual ~SafetensorsFile() = default;

  virtual const std::string& path() const = 0;
  virtual const std::vector<WeightInfo>& weights() const = 0;  // in name order
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// A read-only view of the map, which it keeps alive.
  virtual at::Tensor tensor(size_t index) const = 0;
  /// Errors  ModelError when there is no such tensor.
  virtual at::Tensor tensor(const std::string& name) const = 0;
  virtual bool contains(const std::string& name) const = 0;
};

/// Writes `path` by temporary name, fsync, rename, fsync of the folder. Tensors are host and contiguous; order in the
/// file is that of the reference writer (descending alignment, then name). Errors  StorageError.
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata);

/// The weights of a Hugging Face folder: model.safetensors, or the files of model.safetensors.index.json.
/// Errors  ModelError: only pickles there, index names a missing file or leaves the folder, duplicate tensors.
std::unique_ptr<WeightSource> open_base_weights(const std::string& model_dir);

}  // namespace lora_dist
