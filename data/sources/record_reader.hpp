// Structured records as they stand in a file: JSON lines, a JSON array, or the rows of a CSV file
// with a header.
//
// Which of the three a file is, is told by its content and not by its name (only CSV goes by name).
// What the fields mean is the business of the formats beside this file.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace lora_dist {

struct RawRecord {
  nlohmann::json fields;  // an object; of a CSV row all strings
  std::string where;      // "data/train.jsonl:17"
};

class RecordReader {
 public:
  virtual ~RecordReader() = default;
  /// As Source::next and Source::skip.
  virtual std::optional<RawRecord> next() = 0;
  virtual bool skip();
};

/// Errors  StorageError, DataError.
std::unique_ptr<RecordReader> open_records(const std::string& path);

/// Whether the file begins as JSON or is called .csv.
bool looks_structured(const std::string& path);

std::unique_ptr<RecordReader> open_csv(const std::string& path);

}  // namespace lora_dist
