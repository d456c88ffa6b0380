// JSON of data files: the strict parser, with file, line and byte column in its errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace lora_dist {

struct TextPlace {
  std::string path;
  int64_t line_number = 1;
  size_t column = 1;
};

/// Parses `text`, which begins at `begin`.
/// Errors  DataError with line and byte column: broken JSON, deeper than 64 levels, a key twice.
nlohmann::json parse_json_of_file(std::string_view text, const TextPlace& begin);

}  // namespace lora_dist
