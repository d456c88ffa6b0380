// CSV with a header row (RFC 4180): a row is a record whose fields are all strings.
//
// Tolerated, with a warning: a comma without quotes in the last column, as hand-written captions
// have it.
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/log.hpp"
#include "data/printable.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/record_reader.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxFieldBytes = size_t{1} << 20;

class CsvRows : public RecordReader {
 public:
  explicit CsvRows(const std::string& path) : lines_(path) {
    if (auto header = next_row()) header_ = std::move(header->fields);
  }

  std::optional<RawRecord> next() override {
    std::optional<Row> row = next_row();
    if (!row) return std::nullopt;
    fit_to_header(*row);
    RawRecord record{nlohmann::json::object(), lines_.where(row->line_number)};
    for (size_t column = 0; column < header_.size(); ++column)
      record.fields[header_[column]] = std::move(row->fields[column]);
    return record;
  }

 private:
  struct Row {
    std::vector<std::string> fields;
    int64_t line_number = 0;
  };

  std::optional<Row> next_row() {
    std::optional<Line> line = lines_.next_nonblank();
    if (!line) return std::nullopt;
    Row row{.fields = {}, .line_number = line->number};
    size_t position = 0;
    while (true) {
      row.fields.push_back(take_field(line->text, position, row.line_number));
      if (position == line->text.size()) return row;
      ++position;  // the comma
    }
  }

  /// Reads from `position` to the comma or end behind the field; a quoted field may go on over
  /// further lines.
  std::string take_field(std::string& text, size_t& position, int64_t line_number) {
    if (position == text.size() || text[position] != '"') {
      const size_t end = std::min(text.find(',', position), text.size());
      const size_t begin = std::exchange(position, end);
      return text.substr(begin, end - begin);
    }
    std::string field;
    ++position;
    while (true) {
      if (position == text.size()) {
        const std::optional<Line> more = lines_.next();
        if (!more || field.size() > kMaxFieldBytes)
          broken(line_number, "a quoted field that never ends", "'\"'");
        field += '\n';
        text = more->text;
        position = 0;
      } else if (text[position] != '"') {
        field += text[position++];
      } else if (position + 1 < text.size() && text[position + 1] == '"') {
        field += '"';
        position += 2;
      } else {
        ++position;
        if (position < text.size() && text[position] != ',')
          broken(line_number,
                 fmt::format("'{}' behind a closing quote", printable(text.substr(position, 1))),
                 "','");
        return field;
      }
    }
  }

  void fit_to_header(Row& row) {
    std::vector<std::string>& fields = row.fields;
    if (fields.size() > header_.size()) {
      log_warning(
          lines_.path() +
          ": commas without quotes in the last column are read as part of it; quote such fields");
      for (size_t column = header_.size(); column < fields.size(); ++column)
        fields[header_.size() - 1] += "," + fields[column];
      fields.resize(header_.size());
    }
    if (fields.size() < header_.size())
      broken(row.line_number, fmt::format("{} columns", fields.size()),
             fmt::format("{}", header_.size()));
  }

  [[noreturn]] void broken(int64_t line_number, const std::string& found,
                           const std::string& expected) {
    throw DataError(
        {.where = lines_.where(line_number), .found = found, .expected = expected, .fix = {}});
  }

  LineReader lines_;
  std::vector<std::string> header_;
};

}  // namespace

std::unique_ptr<RecordReader> open_csv(const std::string& path) {
  return std::make_unique<CsvRows>(path);
}

}  // namespace lora_dist
