// The element types of safetensors files and what ATen calls them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lora_dist {

/// "BF16" and its like. Nothing for a name that is unknown or that ATen has no type for (F4, F6).
std::optional<at::ScalarType> dtype_from_name(std::string_view name);
/// The file's name of a type; LD_CHECK where the format has none.
std::string_view dtype_name(at::ScalarType dtype);

/// "[4, 4]"
std::string shape_text(at::IntArrayRef shape);

}  // namespace lora_dist
