// Socket: frozen weights by name. Plugged by data/weights (mapped files) and dist (gathered
// shards).
#pragma once

#include <string>
#include <vector>

namespace lora_dist {

struct WeightInfo {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// Where the weights come from, for messages: a file or folder.
  virtual const std::string& location() const = 0;
  virtual const std::vector<WeightInfo>& weights() const = 0;

  /// The weight as stored, read-only, valid as long as the tensor is held. A mapped file answers
  /// without copying. `index` counts in weights(). Not a collective for mapped files; a sharded
  /// source says otherwise.
  virtual at::Tensor acquire(size_t index) = 0;
};

/// Bytes of all weights as stored.
inline int64_t stored_bytes(const WeightSource& source) {
  int64_t total = 0;
  for (const WeightInfo& weight : source.weights()) {
    int64_t count = static_cast<int64_t>(c10::elementSize(weight.dtype));
    for (const int64_t size : weight.shape) count *= size;
    total += count;
  }
  return total;
}

}  // namespace lora_dist
