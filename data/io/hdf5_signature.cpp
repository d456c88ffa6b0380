#include "data/io/hdf5_signature.hpp"

#include <fstream>
#include <string_view>

namespace lora_dist {

bool is_hdf5(const std::string& path) {
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  std::string begin(kSignature.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(begin.data(), static_cast<std::streamsize>(begin.size())) && begin == kSignature;
}

}  // namespace lora_dist
