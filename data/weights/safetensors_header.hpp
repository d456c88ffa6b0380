// The header of a safetensors file: parsed and checked in full before a byte of the data is
// believed (formats 8.1).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/sockets/weight_source.hpp"

namespace lora_dist {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;  // the reference reader's limit

struct SafetensorsHeader {
  std::vector<WeightInfo> weights;  // in name order
  std::vector<uint64_t> begins;     // [weight] offset of its first byte in the file
  std::map<std::string, std::string> metadata;
};

/// `file` is the whole file; only its header is read. Tensors must cover the rest exactly, without
/// overlap or hole. Errors  ModelError; `path` is named in it.
SafetensorsHeader read_safetensors_header(std::string_view file, const std::string& path);

}  // namespace lora_dist
