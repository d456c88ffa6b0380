// Records of a JSON file that is no JSON lines: one list, objects one after the other (printed over
// several lines, say), or a list inside an object ({"data": [...]}).
#pragma once

#include <memory>
#include <string>

#include "data/sources/record_reader.hpp"

namespace lora_dist {

/// Reads the file record by record, whatever its size; a record has at most 16 MiB. Behind a broken
/// record reading goes on with the next one that begins like the records before it.
/// Nothing where the file is JSON lines.
std::unique_ptr<RecordReader> open_json_records(const std::string& path);

}  // namespace lora_dist
