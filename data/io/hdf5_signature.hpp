// How an HDF5 file is told from others, without the library.
#pragma once

#include <string>

namespace lora_dist {

/// Whether the file begins with the signature of HDF5.
bool is_hdf5(const std::string& path);

}  // namespace lora_dist
