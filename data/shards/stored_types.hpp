// How the numbers of a column are stored in HDF5.
#pragma once

#include <string>
#include <vector>

#include "core/samples/sample.hpp"
#include "data/shards/h5.hpp"

namespace lora_dist {

/// Numbers as they may stand in a file.
struct StoredNumbers {
  H5T_class_t kind = H5T_INTEGER;
  bool is_unsigned = true;
  std::vector<size_t> widths_bytes;

  /// "uint16 or uint32", for messages.
  std::string names() const;
};
StoredNumbers stored_numbers(const Column& column);
/// "uint16", "float32", or what else `type` is.
std::string name_of_type(hid_t type);

/// The type that a column is written as.
H5Id file_type(const Column& column, const H5Task& task);
/// The type of a tensor's numbers.
H5Id memory_type(at::ScalarType dtype, const H5Task& task);

}  // namespace lora_dist
