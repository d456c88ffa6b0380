// Registry of the formats in which frozen weights are stored: plain elements, or blocks of packed
// ones.
//
// Shapes: R rows, C elements of a row, B its bytes.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace lora_dist {

/// A row is a whole number of blocks, one after the other; a block knows nothing of its neighbours.
struct StoredFormat {
  std::string_view name;       // as files and reports spell it: "BF16"
  int64_t block_elements = 1;  // along a row
  int64_t block_bytes = 1;
  std::optional<at::ScalarType> plain = {};  // ATen's type, where an element is stored by itself
  /// Of packed formats: fills values_RC (fp32 or bf16) from bytes_RB (uint8), on one device. Only
  /// the bytes of one row lie side by side, and only the values of one row.
  std::function<void(const at::Tensor& bytes_RB, at::Tensor values_RC)> decode = {};
};

/// Formats have one address for the program's life.
const std::vector<StoredFormat>& stored_formats();
/// Null where the name is unknown.
const StoredFormat* find_format(std::string_view name);
/// LD_CHECK where weights are not stored in this type.
const StoredFormat& plain_format(at::ScalarType dtype);

}  // namespace lora_dist
