// Structured records as they stand in a file: JSON in any arrangement, or the rows of a table with
// a header.
//
// Which arrangement of JSON a file has is told by its content and not by its name; tables (.csv,
// .tsv) go by name. What the fields mean is the business of the formats beside this file.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "data/sources/json_text.hpp"

namespace lora_dist {

struct RawRecord {
  nlohmann::json fields;           // an object; of a row of a table all strings
  std::string where;               // "data/train.jsonl:17"
  std::vector<std::string> notes;  // as Record::notes
  std::string text;                // the JSON it was read from; empty for a row of a table
  std::map<std::string, std::string> written_as;  // [name in fields] where the file spells it so

  /// A field with its keys in the order of the file, for what is printed again.
  nlohmann::ordered_json in_order(const std::string& field) const;
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

/// Whether the file begins as JSON or is a table by its name.
bool looks_structured(const std::string& path);
bool is_table(const std::string& path);

std::unique_ptr<RecordReader> open_table(const std::string& path);
/// The columns that `header` would name as the first line of a table, where they are those of
/// records that are known here; else none.
std::vector<std::string> table_columns(const std::string& header);

/// The record that `text` is. Errors  DataError: broken, not an object.
RawRecord json_record(std::string_view text, const TextPlace& begin, std::string where);

}  // namespace lora_dist
