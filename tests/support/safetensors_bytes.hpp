// Safetensors files byte by byte, also wrong ones.
#pragma once

#include <string>

namespace lora_dist {

/// Length of 8 bytes, little-endian.
inline std::string little_endian_u64(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

/// A file with this header text, whatever it says, and `data_bytes` zero bytes behind it.
inline std::string safetensors_bytes(const std::string& header, size_t data_bytes) {
  return little_endian_u64(header.size()) + header + std::string(data_bytes, '\0');
}

}  // namespace lora_dist
