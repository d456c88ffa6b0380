// Bytes of all host tensors of this process, as LibTorch asks for them.
#pragma once

#include <cstdint>

namespace lora_dist {

/// Counts from its birth on, for as long as it lives; one at a time.
class TensorMemory {
 public:
  TensorMemory();
  ~TensorMemory();
  TensorMemory(const TensorMemory&) = delete;
  TensorMemory& operator=(const TensorMemory&) = delete;

  /// The most that was alive at once of what was taken since the birth.
  int64_t peak_bytes() const;
};

}  // namespace lora_dist
