#include "data/sources/record_reader.hpp"

#include <utility>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
#include "data/sources/byte_window.hpp"
#include "data/sources/field_names.hpp"
#include "data/sources/file_names.hpp"
#include "data/sources/json_records.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

class JsonLines : public RecordReader {
 public:
  explicit JsonLines(const std::string& path) : lines_(path) {}

  std::optional<RawRecord> next() override {
    const std::optional<Line> line = lines_.next_nonblank();
    if (!line) return std::nullopt;
    return json_record(line->text, {.path = lines_.path(), .line_number = line->number},
                       lines_.where(line->number));
  }

  bool skip() override {
    try {
      return lines_.next_nonblank().has_value();
    } catch (const DataError&) {
      return true;
    }
  }

 private:
  LineReader lines_;
};

}  // namespace

bool RecordReader::skip() {
  try {
    return next().has_value();
  } catch (const DataError&) {
    return true;
  }
}

bool is_table(const std::string& path) {
  const std::string extension = lower_extension(path);
  return extension == ".csv" || extension == ".tsv" || extension == ".tab";
}

bool looks_structured(const std::string& path) {
  if (is_table(path)) return true;
  ByteWindow bytes(path);
  const int first = bytes.at(first_content(bytes));
  return first == '{' || first == '[';
}

nlohmann::ordered_json RawRecord::in_order(const std::string& field) const {
  if (text.empty()) return fields.at(field);
  const auto other = written_as.find(field);
  return parse_json<nlohmann::ordered_json>(text).at(other == written_as.end() ? field
                                                                               : other->second);
}

std::unique_ptr<RecordReader> open_records(const std::string& path) {
  if (is_table(path)) return open_table(path);
  if (std::unique_ptr<RecordReader> records = open_json_records(path)) return records;
  return std::make_unique<JsonLines>(path);
}

namespace {

/// How a value that should be a record becomes one.
std::string as_record(const nlohmann::json& value) {
  if (is_list_of_turns(value)) return R"(write each conversation as {"messages": [...]})";
  if (value.is_string()) return R"(write {"text": "..."}, or one text per line into a .txt file)";
  if (value.is_null()) return "take it out";
  return "write one record per line, or all of them in one list";
}

}  // namespace

RawRecord json_record(std::string_view text, const TextPlace& begin, std::string where) {
  RawRecord record{parse_json_of_file(text, begin), std::move(where), {}, std::string(text)};
  if (!record.fields.is_object()) {
    throw DataError({.where = record.where,
                     .found = json_kind(record.fields.type()),
                     .expected = "a record {\"key\": value, ...}",
                     .fix = as_record(record.fields)});
  }
  return record;
}

}  // namespace lora_dist
