// The safetensors file format: strict reader over a memory map, and a crash-safe writer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/sockets/weight_source.hpp"
#include "core/training/training_state.hpp"
#include "data/io/files.hpp"

namespace lora_dist {

class SafetensorsFile {
 public:
  /// Maps and checks the whole header (formats 8.1). Errors  ModelError, StorageError.
  static std::shared_ptr<SafetensorsFile> open(const std::string& path);
  virtual ~SafetensorsFile() = default;

  virtual const std::string& path() const = 0;
  virtual const std::vector<WeightInfo>& weights() const = 0;  // in name order
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// A read-only view of the map, which it keeps alive: writing to it ends the process. A tensor
  /// that the file does not align to its elements is copied.
  virtual at::Tensor tensor(size_t index) const = 0;
  /// Takes the tensor's pages out of this process's resident memory; views of it stay valid.
  virtual void release(size_t index) const = 0;
  /// Errors  ModelError when there is no such tensor.
  virtual at::Tensor tensor(const std::string& name) const = 0;
  virtual bool contains(const std::string& name) const = 0;
};

using TensorMetadata = std::map<std::string, std::string>;

/// Gives the data of weights[index]: host, contiguous, of the announced dtype and shape. Asked once
/// per tensor, in the order of the file, and all again when the file has to be written anew; held
/// only until it is written.
using TensorSupplier = std::function<at::Tensor(size_t index)>;

/// Writes `path` by temporary name, fsync, rename, fsync of the folder. Tensors are host and
/// contiguous; order in the file is that of the reference writer (descending alignment, then name).
/// Errors  StorageError.
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const TensorMetadata& metadata);
/// The same, tensor by tensor.
void write_safetensors(const std::string& path, const std::vector<WeightInfo>& weights,
                       const TensorSupplier& tensor, const TensorMetadata& metadata);
/// The content alone, into a file that the caller closes.
void write_safetensors(NewFile& file, const NamedTensors& tensors, const TensorMetadata& metadata);

/// Bytes of a tensor's data.
uint64_t num_bytes(const WeightInfo& info);

/// Errors  ModelError naming the first value of `tensor` that is NaN or infinite; `where` is the
/// file.
void require_finite(const std::string& where, const std::string& name, const at::Tensor& tensor);
/// The same for every weight of a base.
void require_finite(WeightSource& base);

}  // namespace lora_dist
