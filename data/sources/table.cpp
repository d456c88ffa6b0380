// Tables with a header row (RFC 4180): a row is a record whose fields are all strings. Columns are
// separated by commas in .csv, by tabs in .tsv; a .csv whose header has no comma may use semicolons
// or tabs, as spreadsheets write them.
//
// Tolerated, with a note: commas without quotes in the last column, as hand-written captions have
// them. A row with another number of fields than the header is an error: its fields would stand in
// the wrong columns.
#include <algorithm>
#include <array>
#include <cctype>
#include <deque>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"
#include "data/sources/file_names.hpp"
#include "data/sources/line_reader.hpp"
#include "data/sources/record_reader.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxFieldBytes = size_t{1} << 20;
constexpr std::array<std::string_view, 13> kKnownColumns = {
    "instruction", "input",      "output", "question", "answer",   "query",  "response",
    "prompt",      "completion", "text",   "system",   "messages", "context"};

class TableRows : public RecordReader {
 public:
  explicit TableRows(const std::string& path) : lines_(path) {
    read_header(lower_extension(path) == ".csv");
  }

  std::optional<RawRecord> next() override {
    std::optional<Row> row = next_row();
    if (!row) return std::nullopt;
    RawRecord record{nlohmann::json::object(), lines_.where(row->line_number), {}};
    fit_to_header(*row, record);
    for (size_t column = 0; column < header_.size(); ++column)
      if (!header_[column].empty()) record.fields[header_[column]] = std::move(row->fields[column]);
    return record;
  }

 private:
  struct Row {
    std::vector<std::string> fields;
    int64_t line_number = 0;
  };

  void read_header(bool is_csv) {
    std::optional<Line> line = next_nonblank_line();
    if (!line) return;
    separator_ = '\t';
    if (is_csv) {
      const auto has = [&](char c) { return line->text.find(c) != std::string::npos; };
      separator_ = has(',') ? ',' : has(';') ? ';' : has('\t') ? '\t' : ',';
      // "a, b": the blank is of the hand that wrote the file.
      blank_behind_separator_ = line->text.find(", ") != std::string::npos;
    }
    const int64_t line_number = line->number;
    unread_.push_front(std::move(*line));
    Row header = std::move(*next_row());
    for (std::string& name : header.fields) header_.emplace_back(trimmed(name));
    for (size_t i = 0; i < header_.size(); ++i) {
      const auto twin = std::find(header_.begin(), header_.begin() + i, header_[i]);
      if (header_[i].empty() || twin == header_.begin() + i) continue;
      broken(line_number,
             fmt::format("column '{}' stands twice ({} and {})", printable(header_[i]),
                         twin - header_.begin() + 1, i + 1),
             {}, "rename one");
    }
  }

  std::optional<Line> next_line() {
    if (unread_.empty()) return lines_.next();
    Line line = std::move(unread_.front());
    unread_.pop_front();
    return line;
  }

  std::optional<Line> next_nonblank_line() {
    while (std::optional<Line> line = next_line())
      if (!trimmed(line->text).empty()) return line;
    return std::nullopt;
  }

  std::optional<Row> next_row() {
    std::optional<Line> line = next_nonblank_line();
    if (!line) return std::nullopt;
    further_lines_.clear();
    Row row{.fields = {}, .line_number = line->number};
    size_t position = 0;
    try {
      while (true) {
        row.fields.push_back(take_field(line->text, position, row.line_number));
        if (position == line->text.size()) return row;
        ++position;  // the separator
      }
    } catch (const DataError&) {
      // A quote that is never closed swallows the rows behind it: they are read as what they are.
      unread_.insert(unread_.begin(), std::make_move_iterator(further_lines_.begin()),
                     std::make_move_iterator(further_lines_.end()));
      throw;
    }
  }

  /// Reads from `position` to the separator or end behind the field; a quoted field may go on over
  /// further lines.
  std::string take_field(std::string& text, size_t& position, int64_t line_number) {
    if (blank_behind_separator_)
      while (position > 0 && position < text.size() && text[position] == ' ') ++position;
    if (position == text.size() || text[position] != '"') {
      const size_t end = std::min(text.find(separator_, position), text.size());
      const size_t begin = std::exchange(position, end);
      require_size(end - begin, line_number);
      return text.substr(begin, end - begin);
    }
    std::string field;
    ++position;
    while (true) {
      require_size(field.size(), line_number);
      if (position == text.size()) {
        std::optional<Line> more = next_line();
        if (!more)
          broken(line_number, "a quoted field that never ends", "'\"'",
                 "close it, or double the quotes inside a field");
        field += '\n';
        text = more->text;
        further_lines_.push_back(std::move(*more));
        position = 0;
      } else if (text[position] != '"') {
        const size_t end = std::min(text.find('"', position), text.size());
        field.append(text, position, end - position);
        position = end;
      } else if (position + 1 < text.size() && text[position + 1] == '"') {
        field += '"';
        position += 2;
      } else {
        ++position;
        if (position < text.size() && text[position] != separator_)
          broken(line_number,
                 fmt::format("'{}' behind a closing quote", printable(text.substr(position, 1))),
                 separator_ == '\t' ? "a tab" : fmt::format("'{}'", separator_),
                 "double the quotes inside a field");
        return field;
      }
    }
  }

  void require_size(size_t field_bytes, int64_t line_number) {
    if (field_bytes <= kMaxFieldBytes) return;
    broken(line_number, "a field of more than 1 MiB", "at most 1 MiB",
           "write such records as .jsonl, or close a quote that is left open");
  }

  void fit_to_header(Row& row, RawRecord& record) {
    std::vector<std::string>& fields = row.fields;
    if (fields.size() == header_.size()) return;
    if (fields.size() < header_.size() || !ends_in_prose(fields))
      broken(row.line_number,
             fmt::format("{} field{}", fields.size(), fields.size() == 1 ? "" : "s"),
             fmt::format("{} as in the header ({})", header_.size(), fmt::join(header_, ", ")),
             "put quotes around a field that holds a separator or a line end");
    record.notes.push_back(
        "commas without quotes in the last column are read as part of it; quote such fields");
    for (size_t column = header_.size(); column < fields.size(); ++column)
      fields[header_.size() - 1] += "," + fields[column];
    fields.resize(header_.size());
  }

  /// Whether the surplus commas are those of a text in the last column. Commas of prose have a
  /// blank behind them and those between columns have none; of two columns the first rarely holds
  /// one.
  bool ends_in_prose(const std::vector<std::string>& fields) const {
    if (separator_ != ',' || blank_behind_separator_) return false;
    const auto last = fields.begin() + static_cast<ptrdiff_t>(header_.size());
    const auto begins_with_blank = [](const std::string& field) { return field.starts_with(' '); };
    if (std::any_of(fields.begin() + 1, last, begins_with_blank)) return false;
    return header_.size() == 2 || std::all_of(last, fields.end(), begins_with_blank);
  }

  [[noreturn]] void broken(int64_t line_number, const std::string& found,
                           const std::string& expected, const std::string& fix) {
    throw DataError(
        {.where = lines_.where(line_number), .found = found, .expected = expected, .fix = fix});
  }

  LineReader lines_;
  std::deque<Line> unread_;          // read, but given back
  std::vector<Line> further_lines_;  // of the row that is being read, but for the first
  std::vector<std::string> header_;  // [column] empty: the column has no name and is left out
  char separator_ = ',';
  bool blank_behind_separator_ = false;
};

}  // namespace

std::unique_ptr<RecordReader> open_table(const std::string& path) {
  return std::make_unique<TableRows>(path);
}

std::vector<std::string> table_columns(const std::string& header) {
  for (const char separator : {'\t', ',', ';', '|'}) {
    std::vector<std::string> columns;
    size_t num_known = 0;
    for (size_t begin = 0; begin <= header.size();) {
      const size_t end = std::min(header.find(separator, begin), header.size());
      columns.emplace_back(trimmed(std::string_view(header).substr(begin, end - begin)));
      std::string lower = columns.back();
      std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
      num_known += std::ranges::count(kKnownColumns, lower);
      begin = end + 1;
    }
    if (num_known >= 2 && num_known == columns.size()) return columns;
  }
  return {};
}

}  // namespace lora_dist
