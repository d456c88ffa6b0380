// What a dataset inside an HDF5 file may look like before any of it is read: reliability 10.2 for
// files of strangers.
#pragma once

#include <string>
#include <vector>

#include "data/shards/h5.hpp"
#include "data/shards/stored_types.hpp"

namespace lora_dist {

struct ExpectedDataset {
  std::string name;  // "/tokens"
  StoredNumbers numbers;
  std::vector<int64_t> element;  // shape behind the first dimension
  std::string all_names;         // of the file, for the message where this one is missing
};

struct OpenedDataset {
  H5Id id;
  uint64_t size = 0;  // of the first dimension
};

/// Opens a dataset of `file`. Refused: links, external and virtual storage, foreign filters, chunks
/// over 64 MiB, extents that the file cannot hold, other numbers or another shape than expected.
/// Errors  DataError.
OpenedDataset open_checked_dataset(hid_t file, const ExpectedDataset& expected, const H5Task& task);

}  // namespace lora_dist
