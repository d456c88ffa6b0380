#pragma once

#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lora_dist {

/// "[4, 4]"
inline std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace lora_dist
