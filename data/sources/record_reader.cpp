#include "data/sources/record_reader.hpp"

#include <filesystem>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "data/files.hpp"
#include "data/json.hpp"
#include "data/sources/json_text.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

RawRecord raw_record(std::string_view text, const std::string& path, int64_t line_number) {
  RawRecord record{parse_json_of_file(text, path, line_number), place(path, line_number)};
  if (!record.fields.is_object()) {
    throw DataError({.where = record.where,
                     .found = json_kind(record.fields.type()),
                     .expected = "a record {\"key\": value, ...}",
                     .fix = "write one record per line, or all of them in one list"});
  }
  return record;
}

class JsonLines : public RecordReader {
 public:
  explicit JsonLines(const std::string& path) : lines_(path) {}

  std::optional<RawRecord> next() override {
    const std::optional<Line> line = lines_.next_nonblank();
    if (!line) return std::nullopt;
    return raw_record(line->text, lines_.path(), line->number);
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

/// Cuts a top-level array into its elements by counting brackets, so that each is parsed alone and
/// a broken one is reported with its own line.
class JsonArray : public RecordReader {
 public:
  explicit JsonArray(const std::string& path) : path_(path), text_(read_file(path)) {
    require_clean_text(text_, path_, 1);
    position_ = text_.find('[') + 1;
    count_lines_to(position_);
  }

  std::optional<RawRecord> next() override {
    const std::optional<std::string_view> element = next_element();
    if (!element) return std::nullopt;
    return raw_record(*element, path_, element_line_);
  }

  bool skip() override {
    try {
      return next_element().has_value();
    } catch (const DataError&) {
      return true;
    }
  }

 private:
  static constexpr std::string_view kBlank = " \t\r\n";

  void skip_blank() {
    position_ = std::min(text_.find_first_not_of(kBlank, position_), text_.size());
  }

  void count_lines_to(size_t position) {
    for (; counted_ < position; ++counted_) line_number_ += text_[counted_] == '\n';
  }

  [[noreturn]] void broken(const std::string& expected) {
    count_lines_to(position_);
    const std::string found = position_ == text_.size()
                                  ? "unexpected end of text"
                                  : fmt::format("unexpected '{}'", text_[position_]);
    ended_ = true;
    throw DataError(
        {.where = place(path_, line_number_), .found = found, .expected = expected, .fix = {}});
  }

  std::optional<std::string_view> next_element() {
    if (ended_) return std::nullopt;
    skip_blank();
    if (position_ < text_.size() && !first_ && text_[position_] == ',') {
      ++position_;
      skip_blank();
    } else if (position_ < text_.size() && text_[position_] == ']') {
      ++position_;
      skip_blank();
      if (position_ < text_.size()) broken("the end of the file");
      ended_ = true;
      return std::nullopt;
    } else if (!first_) {
      broken("',' or ']'");
    }
    if (position_ == text_.size()) broken("a record or ']'");
    first_ = false;
    count_lines_to(position_);
    element_line_ = line_number_;
    const size_t begin = position_;
    position_ = element_end(begin);
    return std::string_view(text_).substr(begin, position_ - begin);
  }

  /// One past the last byte of the value at `begin`; the end of the text where a bracket or quote
  /// is never closed.
  size_t element_end(size_t begin) const {
    int64_t depth = 0;
    bool in_string = false;
    for (size_t i = begin; i < text_.size(); ++i) {
      const char c = text_[i];
      if (in_string) {
        if (c == '\\') ++i;
        in_string = c != '"';
      } else if (c == '"') {
        in_string = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return i;
        if (--depth == 0) return i + 1;
      } else if (c == ',' && depth == 0) {
        return i;
      }
    }
    return text_.size();
  }

  std::string path_, text_;
  size_t position_ = 0;
  size_t counted_ = 0;  // bytes whose line ends are in line_number_
  int64_t line_number_ = 1;
  int64_t element_line_ = 1;
  bool first_ = true;
  bool ended_ = false;
};

/// The first byte that is neither blank nor part of a byte order mark; 0 where there is none.
char first_byte(const std::string& path) {
  const std::optional<Line> line = LineReader(path).next_nonblank();
  return line ? trimmed(line->text).front() : '\0';
}

bool is_csv(const std::string& path) { return std::filesystem::path(path).extension() == ".csv"; }

}  // namespace

bool RecordReader::skip() {
  try {
    return next().has_value();
  } catch (const DataError&) {
    return true;
  }
}

bool looks_structured(const std::string& path) {
  if (is_csv(path)) return true;
  const char first = first_byte(path);
  return first == '{' || first == '[';
}

std::unique_ptr<RecordReader> open_records(const std::string& path) {
  if (is_csv(path)) return open_csv(path);
  if (first_byte(path) == '[') return std::make_unique<JsonArray>(path);
  return std::make_unique<JsonLines>(path);
}

}  // namespace lora_dist
