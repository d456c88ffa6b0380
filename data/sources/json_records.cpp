#include "data/sources/json_records.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>
#include <utility>

#include "core/base/error.hpp"
#include "data/io/json.hpp"
#include "data/io/printable.hpp"
#include "data/sources/byte_window.hpp"
#include "data/sources/json_cut.hpp"
#include "data/sources/json_text.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxRecordBytes = size_t{16} << 20;

/// Keys under which exports put the list of their records.
constexpr std::array<std::string_view, 14> kListKeys = {
    "data",  "train",     "training", "train_data", "dataset", "records", "rows",
    "items", "instances", "examples", "samples",    "entries", "test",    "validation"};
/// Keys of turns and parts inside a record: an object that begins with one of them is no record.
const std::set<std::string, std::less<>> kInnerKeys = {"role", "from",     "content", "value",
                                                       "type", "function", "name",    "label"};
const std::set<std::string, std::less<>> kRecordKeys = {
    "instruction", "question", "query",    "prompt",        "input",   "output",
    "answer",      "response", "messages", "conversations", "text",    "completion",
    "input_ids",   "system",   "history",  "chosen",        "rejected"};

enum class Form : uint8_t { kList, kSequence, kWrappedList };

class JsonRecords : public RecordReader {
 public:
  JsonRecords(ByteWindow bytes, Form form, size_t begin)
      : bytes_(std::move(bytes)), form_(form), position_(begin) {}

  std::optional<RawRecord> next() override {
    const std::optional<std::string_view> text = next_value();
    if (!text) return std::nullopt;
    require_clean_text(*text, bytes_.path(), line_number_);
    return json_record(*text, {bytes_.path(), line_number_, column()}, where());
  }

  bool skip() override {
    try {
      return next_value().has_value();
    } catch (const DataError&) {
      return true;
    }
  }

 private:
  /// The text of the next record, which begins at begin_. Valid until the next call.
  std::optional<std::string_view> next_value() {
    if (ended_) return std::nullopt;
    leave_behind(position_);
    if (!go_to_value()) return std::nullopt;
    begin_record();
    const JsonCut cut = cut_json_value(bytes_, begin_, kMaxRecordBytes);
    if (cut.state != JsonCut::kWhole) lose_place(fault_of(cut));
    position_ = cut.end;
    if (bytes_.at(begin_) != '{') require_end_of_value();
    const std::string_view text = bytes_.text(begin_, cut.end);
    if (keys_.empty()) learn_from(text);
    return text;
  }

  /// A string or number where a record should begin is the inside of one that lost its bracket,
  /// unless a comma follows.
  void require_end_of_value() {
    position_ = bytes_.next_nonblank(position_);
    const int c = bytes_.at(position_);
    if (c != ',' && c != ']' && c != ByteWindow::kEnd) lose_place(unexpected("',' or ']'"));
  }

  void begin_record() {
    begin_ = position_;
    count_lines_to(begin_);
    if (++num_records_ == 1) first_begin_ = begin_;
  }

  /// Moves to the first byte of the next value; false at the end of the records.
  bool go_to_value() {
    position_ = bytes_.next_nonblank(position_);
    const int c = bytes_.at(position_);
    if (std::exchange(at_record_, false)) return true;  // the place was found again
    if (form_ == Form::kSequence) {
      if (c == ',' && num_records_ > 0) position_ = bytes_.next_nonblank(position_ + 1);
      if (bytes_.at(position_) != ByteWindow::kEnd) return true;
      ended_ = true;
      return false;
    }
    if (c == ']') return close_list();
    if (num_records_ > 0) {
      if (c != ',') miss_comma(c);
      position_ = bytes_.next_nonblank(position_ + 1);
    }
    const int first = bytes_.at(position_);
    if (first != ByteWindow::kEnd && first != ']') return true;
    ended_ = first == ByteWindow::kEnd;
    throw unexpected(ended_ ? "a record or ']'" : "a record behind the comma");
  }

  /// A record without the comma before it is read all the same, once this has been said.
  [[noreturn]] void miss_comma(int c) {
    const DataError error = unexpected("',' or ']'");
    at_record_ = c == '{';
    ended_ = c == ByteWindow::kEnd;
    if (at_record_ || ended_) throw error;
    begin_record();
    lose_place(error);
  }

  bool close_list() {
    ended_ = true;
    position_ = bytes_.next_nonblank(position_ + 1);
    if (form_ == Form::kWrappedList) pass_rest_of_wrapper();
    if (bytes_.at(position_) != ByteWindow::kEnd) throw unexpected("the end of the file");
    return false;
  }

  /// What stands beside the list in its object: counts and versions, but no second list of records.
  void pass_rest_of_wrapper() {
    while (bytes_.at(position_) == ',') {
      const size_t key = bytes_.next_nonblank(position_ + 1);
      const JsonCut name = cut_json_value(bytes_, key, kMaxRecordBytes);
      const size_t colon = bytes_.next_nonblank(name.end);
      const size_t value = bytes_.next_nonblank(colon + 1);
      if (name.state != JsonCut::kWhole || bytes_.at(colon) != ':') return;
      if (bytes_.at(value) == '[' && bytes_.at(bytes_.next_nonblank(value + 1)) == '{') {
        const std::string list = printable(bytes_.text(key, name.end));
        count_lines_to(key);
        throw DataError({.where = place(bytes_.path(), line_number_),
                         .found = fmt::format("a second list of records, {}", list),
                         .expected = "one list per file",
                         .fix = "write each list into a file of its own"});
      }
      const JsonCut cut = cut_json_value(bytes_, value, kMaxRecordBytes);
      if (cut.state != JsonCut::kWhole) return;
      position_ = bytes_.next_nonblank(cut.end);
      leave_behind(position_);
    }
    if (bytes_.at(position_) == '}') position_ = bytes_.next_nonblank(position_ + 1);
  }

  /// Throws `error`, the fault of the record at begin_, once the next one is found.
  [[noreturn]] void lose_place(const DataError& error) {
    at_record_ = find_next_record();
    if (at_record_) throw error;
    ended_ = true;
    const size_t mean_bytes = num_records_ > 1 ? (begin_ - first_begin_) / (num_records_ - 1) : 0;
    const size_t num_lost = mean_bytes > 0 ? (position_ - begin_) / mean_bytes : 0;
    if (num_lost < 2) throw error;
    const std::string text = error.what();
    const size_t colon = text.find(": ", bytes_.path().size());
    throw DataError({.where = text.substr(0, colon),
                     .found = fmt::format("{}; about {} records behind it cannot be read",
                                          text.substr(colon + 2), num_lost - 1),
                     .expected = {},
                     .fix = "mend this one"});
  }

  DataError fault_of(const JsonCut& cut) {
    if (cut.state == JsonCut::kTooLong)
      return DataError({.where = where(),
                        .found = "a record of more than 16 MiB",
                        .expected = {},
                        .fix = "cut it into several, or close its brackets"});
    const int c = bytes_.at(cut.end);
    // The parser has to see what cannot stand there; of a string that is its end too.
    const std::string text =
        std::string(bytes_.text(begin_, cut.end)) + (c == ByteWindow::kEnd ? ""
                                                     : c == '"'            ? "\"\""
                                                                           : std::string(1, c));
    try {
      require_clean_text(bytes_.text(begin_, cut.end), bytes_.path(), line_number_);
      parse_json_of_file(text, {bytes_.path(), line_number_, column()});
    } catch (const DataError& error) {
      return error;
    }
    return DataError({.where = where(), .found = "broken JSON", .expected = {}, .fix = {}});
  }

  /// Moves position_ to where the next record begins behind the broken one at begin_: an object
  /// whose first key is one that records of this file have, on a line indented like them where they
  /// stand on lines of their own. False, with position_ at the end of the file, where there is
  /// none.
  bool find_next_record() {
    const bool own_line = keys_.empty() ? starts_line_ : indentation_.has_value();
    const size_t indentation = indentation_.value_or(begin_ - line_begin_);
    for (position_ = begin_ + 1; bytes_.at(position_) != ByteWindow::kEnd; ++position_) {
      leave_behind(position_);
      if (bytes_.at(position_) != '{') continue;
      const bool fits = !own_line || (starts_line_ && position_ - line_begin_ == indentation);
      if (fits && looks_like_record(position_)) return true;
    }
    return false;
  }

  bool looks_like_record(size_t position) {
    const size_t quote = bytes_.next_nonblank(position + 1);
    if (bytes_.at(quote) != '"') return false;
    const JsonCut key = cut_json_value(bytes_, quote, /*max_bytes=*/256);
    if (key.state != JsonCut::kWhole || bytes_.at(bytes_.next_nonblank(key.end)) != ':')
      return false;
    const std::string_view name = bytes_.text(quote + 1, key.end - 1);
    return keys_.empty() ? !kInnerKeys.contains(name) : keys_.contains(name);
  }

  /// The first whole record tells how later ones begin.
  void learn_from(std::string_view text) {
    try {
      const auto fields = parse_json<nlohmann::json>(text);
      if (!fields.is_object()) return;
      for (const auto& [key, value] : fields.items()) keys_.insert(key);
      if (starts_line_) indentation_ = begin_ - line_begin_;
    } catch (const JsonFault&) {
      // Reported where the record is read.
    }
  }

  void leave_behind(size_t position) {
    count_lines_to(position);
    bytes_.forget(position);
  }

  /// Also keeps where the line of `position` begins, and whether anything stands before it there.
  void count_lines_to(size_t position) {
    for (; counted_ < position; ++counted_) {
      const int c = bytes_.at(counted_);
      if (c == '\n') {
        ++line_number_;
        line_begin_ = counted_ + 1;
        starts_line_ = true;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        starts_line_ = false;
      }
    }
  }

  size_t column() const { return begin_ - line_begin_ + 1; }

  /// Of records that share a line the number is named too.
  std::string where() const {
    const std::string line = place(bytes_.path(), line_number_);
    return starts_line_ || num_records_ == 1 ? line
                                             : fmt::format("{} (record {})", line, num_records_);
  }

  DataError unexpected(const std::string& expected) {
    count_lines_to(position_);
    const int c = bytes_.at(position_);
    const std::string found =
        c == ByteWindow::kEnd
            ? "unexpected end of text"
            : fmt::format("unexpected '{}'", printable(std::string(1, static_cast<char>(c))));
    return DataError({.where = place(bytes_.path(), line_number_),
                      .found = found,
                      .expected = expected,
                      .fix = {}});
  }

  ByteWindow bytes_;
  Form form_;
  size_t position_, begin_ = 0, first_begin_ = 0;
  size_t counted_ = 0;  // bytes whose line ends are in line_number_
  int64_t line_number_ = 1;
  size_t line_begin_ = 0;
  bool starts_line_ = true;  // nothing but blanks stands before counted_ on its line
  size_t num_records_ = 0;
  bool at_record_ = false;  // position_ is where a record begins, whatever stands before it
  bool ended_ = false;
  std::set<std::string, std::less<>> keys_;  // of the first whole record
  std::optional<size_t> indentation_;        // of that record where it has a line of its own
};

/// Where the first record of the list begins that the object at `begin` holds under a usual key;
/// nothing where the object is a record itself.
std::optional<size_t> wrapped_list(ByteWindow& bytes, size_t begin) {
  size_t position = bytes.next_nonblank(begin + 1);
  while (bytes.at(position) == '"') {
    const JsonCut key = cut_json_value(bytes, position, /*max_bytes=*/256);
    const size_t colon = bytes.next_nonblank(key.end);
    if (key.state != JsonCut::kWhole || bytes.at(colon) != ':') return std::nullopt;
    std::string name(bytes.text(position + 1, key.end - 1));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    if (kRecordKeys.contains(name)) return std::nullopt;
    const size_t value = bytes.next_nonblank(colon + 1);
    if (bytes.at(value) == '[' && std::ranges::count(kListKeys, name) > 0) {
      const int first = bytes.at(bytes.next_nonblank(value + 1));
      if (first == '{' || first == ']') return value + 1;
    }
    const JsonCut cut = cut_json_value(bytes, value, kMaxRecordBytes);
    if (cut.state != JsonCut::kWhole) return std::nullopt;
    position = bytes.next_nonblank(cut.end);
    if (bytes.at(position) != ',') return std::nullopt;
    position = bytes.next_nonblank(position + 1);
  }
  return std::nullopt;
}

/// Whether each line is meant to be an object of its own: the first one is, or is broken within its
/// line.
bool is_json_lines(ByteWindow& bytes, size_t begin) {
  const JsonCut first = cut_json_value(bytes, begin, kMaxRecordBytes);
  const size_t next = bytes.next_nonblank(first.end);
  const auto crosses_line = [&](size_t end) {
    return bytes.text(begin, end).find('\n') != std::string_view::npos;
  };
  if (first.state == JsonCut::kTooLong) return !crosses_line(first.end);
  if (first.state == JsonCut::kWhole) {
    if (crosses_line(first.end)) return false;
    const bool on_same_line = bytes.at(next) != ByteWindow::kEnd && !crosses_line(next);
    return !on_same_line || (bytes.at(next) != ',' && bytes.at(next) != '{');
  }
  // A second object where the first one's next key should stand: its line was cut short.
  const bool at_line_start = first.end > begin && bytes.at(first.end - 1) == '\n';
  return !crosses_line(first.end) || (at_line_start && bytes.at(first.end) == '{');
}

}  // namespace

std::unique_ptr<RecordReader> open_json_records(const std::string& path) {
  ByteWindow bytes(path);
  const size_t begin = first_content(bytes);
  Form form = Form::kList;
  size_t first = begin + 1;
  if (bytes.at(begin) != '[') {
    if (const std::optional<size_t> list = wrapped_list(bytes, begin)) {
      form = Form::kWrappedList;
      first = *list;
    } else if (is_json_lines(bytes, begin)) {
      return nullptr;
    } else {
      form = Form::kSequence;
      first = begin;
    }
  }
  return std::make_unique<JsonRecords>(std::move(bytes), form, first);
}

}  // namespace lora_dist
