// A frozen weight as it is stored, and the one place where it becomes numbers.
//
// A packed matrix is decoded in parts, whole rows or tiles of them; a plain weight is a tensor, and
// what asks for it in its own type gets a view.
#pragma once

#include <string>
#include <vector>

#include "core/weights/stored_format.hpp"

namespace lora_dist {

struct WeightInfo {
  std::string name;
  const StoredFormat* format;
  std::vector<int64_t> shape;
};

/// Bytes of a weight as stored. Errors  ModelError: its rows are no whole number of blocks.
int64_t stored_bytes(const WeightInfo& weight);

class StoredWeight {
 public:
  StoredWeight() = default;
  StoredWeight(at::Tensor plain) : tensor_(std::move(plain)) {}  // of any strides
  /// Bytes (rows, bytes of a row) of a packed matrix, uint8. `format` outlives it.
  StoredWeight(const StoredFormat& format, at::Tensor bytes_RB);
  /// `bytes` (uint8, in one piece) are those of `weight`; a view.
  static StoredWeight of_bytes(const at::Tensor& bytes, const WeightInfo& weight);

  bool is_plain() const { return !packed_; }
  /// Elements along a row that are decoded together.
  int64_t block_elements() const { return packed_ ? packed_->block_elements : 1; }
  int64_t size(int64_t dim) const {
    return packed_ && dim == 1 ? tensor_.size(1) / packed_->block_bytes * packed_->block_elements
                               : tensor_.size(dim);
  }
  bool is_cpu() const { return tensor_.is_cpu(); }
  at::Device device() const { return tensor_.device(); }
  /// The tensor, or the bytes of a packed one.
  const at::Tensor& stored() const { return tensor_; }
  /// Of a plain weight.
  const at::Tensor& as_tensor() const;

  /// Whether numbers of `dtype` are made of it, and not a view.
  bool converts_to(at::ScalarType dtype) const { return packed_ || tensor_.scalar_type() != dtype; }
  /// Fills target_PQ (fp32 or bf16) with the tile whose first element is (row, column), a whole
  /// number of blocks wide.
  void decode(int64_t row, int64_t column, at::Tensor target_PQ) const;
  /// (count, C) in `dtype`; a view where nothing converts.
  at::Tensor rows(int64_t first, int64_t count, at::ScalarType dtype) const;
  /// (N, C) in `dtype`.
  at::Tensor gather_rows(const at::Tensor& index_N, at::ScalarType dtype) const;
  /// All of it: as stored where it is plain, else fp32.
  at::Tensor values() const { return packed_ ? rows(0, size(0), at::kFloat) : tensor_; }

  StoredWeight copied_to(at::Device device) const;

 private:
  at::Tensor tensor_;
  const StoredFormat* packed_ = nullptr;
};

}  // namespace lora_dist
