// What a dataset inside an HDF5 file may look like before any of it is read: reliability 10.2 for
// files of strangers.
#pragma once

#include <initializer_list>
#include <string>

#include "data/shards/h5.hpp"

namespace lora_dist {

struct OpenedDataset {
  H5Id id;
  uint64_t size = 0;  // elements; the dataset has one dimension
};

/// Opens `/name` of `file`. Refused: links, external and virtual storage, foreign filters, chunks
/// over 64 MiB, extents that the file cannot hold, unsigned widths other than `widths_bytes`, more
/// than one dimension. Errors  DataError.
OpenedDataset open_checked_dataset(hid_t file, const std::string& name,
                                   std::initializer_list<size_t> widths_bytes, const H5Task& task);

}  // namespace lora_dist
