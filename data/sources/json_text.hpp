// JSON of data files: the strict parser, with file, line and byte column in its errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lora_dist {

/// Parses `text`, which begins on line `first_line` of `path`.
/// Errors  DataError with line and byte column: broken JSON, deeper than 64 levels, a key twice.
nlohmann::json parse_json_of_file(std::string_view text, const std::string& path,
                                  int64_t first_line);

}  // namespace lora_dist
