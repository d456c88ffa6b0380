#include "data/sources/line_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "core/base/error.hpp"
#include "data/io/printable.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxLineBytes = size_t{16} << 20;
constexpr size_t kReadBytes = size_t{1} << 18;
constexpr std::string_view kIdeographicSpace = "\u3000";

/// Old spreadsheets on a Mac end lines with a carriage return alone.
char line_end_of(std::string_view head) {
  return head.find('\n') == std::string_view::npos && head.find('\r') != std::string_view::npos
             ? '\r'
             : '\n';
}

}  // namespace

LineReader::LineReader(std::string path) : path_(std::move(path)), file_(path_, std::ios::binary) {
  if (!file_) {
    throw StorageError({.where = path_,
                        .found = fmt::format("cannot be opened ({})", std::strerror(errno)),
                        .expected = {},
                        .fix = "check the path and its permissions"});
  }
}

std::string LineReader::where(int64_t line_number) const { return place(path_, line_number); }

std::string place(const std::string& path, int64_t line_number) {
  return fmt::format("{}:{}", path, line_number);
}

/// Appends to `text` up to the next line end; what exceeds the limit is read and dropped. False at
/// the end of the file.
bool LineReader::read_until_line_end(std::string& text) {
  bool any = false;
  while (true) {
    if (position_ == buffer_.size()) {
      buffer_.resize(kReadBytes);
      file_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
      buffer_.resize(static_cast<size_t>(file_.gcount()));
      position_ = 0;
      if (file_.bad()) {
        throw StorageError({.where = where(line_number_ + 1),
                            .found = fmt::format("reading failed ({})", std::strerror(errno)),
                            .expected = {},
                            .fix = "check the disk"});
      }
      if (buffer_.empty()) return any;
    }
    if (!std::exchange(any_read_, true)) line_end_ = line_end_of(buffer_);
    any = true;
    const size_t end = std::min(buffer_.find(line_end_, position_), buffer_.size());
    const size_t room = kMaxLineBytes + 1 - std::min(text.size(), kMaxLineBytes + 1);
    text.append(buffer_, position_, std::min(end - position_, room));
    position_ = end;
    if (end < buffer_.size()) {
      ++position_;
      return true;
    }
  }
}

std::optional<Line> LineReader::next() {
  Line line;
  if (!read_until_line_end(line.text)) return std::nullopt;
  line.number = ++line_number_;
  if (line.number == 1 && line.text.starts_with(kByteOrderMark))
    line.text.erase(0, kByteOrderMark.size());
  if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
  if (line.text.size() > kMaxLineBytes) {
    throw DataError({.where = where(line.number),
                     .found = "a line of more than 16 MiB",
                     .expected = {},
                     .fix = "write one record per line"});
  }
  require_clean_text(line.text, path_, line.number);
  return line;
}

std::optional<Line> LineReader::next_nonblank() {
  while (std::optional<Line> line = next())
    if (!trimmed(line->text).empty()) return line;
  return std::nullopt;
}

std::vector<std::string> first_nonblank_lines(const std::string& path) {
  constexpr size_t kMaxLines = 512;
  constexpr size_t kMaxBytes = size_t{1} << 20;
  LineReader lines(path);
  std::vector<std::string> first;
  std::exception_ptr first_error;
  for (size_t bytes = 0; first.size() < kMaxLines && bytes < kMaxBytes;) {
    try {
      std::optional<Line> line = lines.next_nonblank();
      if (!line) break;
      bytes += line->text.size();
      first.push_back(std::move(line->text));
    } catch (const DataError&) {
      bytes += kMaxBytes / kMaxLines;  // a file of nothing else ends too
      if (!first_error) first_error = std::current_exception();
    }
  }
  if (first.empty() && first_error) std::rethrow_exception(first_error);
  return first;
}

namespace {

/// What a text that is not UTF-8 probably is, as a command that mends it; `text` begins with the
/// first wrong byte.
std::string remedy_for(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  if (byte(0) == 0xED && byte(1) >= 0xA0) return "it is half of a surrogate pair; take it out";
  size_t num_pairs = 0;  // GBK writes a Chinese character as a byte of 81 to FE and one of 40 to FE
  while (byte(2 * num_pairs) >= 0x81 && byte(2 * num_pairs + 1) >= 0x40) ++num_pairs;
  if (num_pairs >= 2) return "save as UTF-8, from GBK with: iconv -f GB18030 -t UTF-8 F > G";
  if (byte(0) >= 0xA0 && byte(1) < 0x80)
    return "save as UTF-8, from Latin-1 with: iconv -f WINDOWS-1252 -t UTF-8 F > G";
  return "save as UTF-8";
}

}  // namespace

void require_clean_text(std::string_view text, const std::string& path, int64_t first_line) {
  const size_t bad = std::min(first_invalid_utf8(text), text.find('\0'));
  if (bad == std::string_view::npos) return;
  const std::string_view before = text.substr(0, bad);
  const int64_t line_number = first_line + std::count(before.begin(), before.end(), '\n');
  const size_t column = bad - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0: the first line
  if (text[bad] == '\0') {
    throw DataError({.where = place(path, line_number),
                     .found = fmt::format("NUL byte in column {}, not a text file", column),
                     .expected = {},
                     .fix = "check that this is the data file"});
  }
  throw DataError({.where = place(path, line_number),
                   .found = fmt::format("byte 0x{:02X} in column {} is not UTF-8",
                                        static_cast<unsigned char>(text[bad]), column),
                   .expected = {},
                   .fix = remedy_for(text.substr(bad))});
}

std::string_view trimmed(std::string_view text) {
  while (true) {
    if (!text.empty() && std::strchr(" \t\r\n", text.front()) != nullptr) {
      text.remove_prefix(1);
    } else if (text.starts_with(kIdeographicSpace)) {
      text.remove_prefix(kIdeographicSpace.size());
    } else if (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) {
      text.remove_suffix(1);
    } else if (text.ends_with(kIdeographicSpace)) {
      text.remove_suffix(kIdeographicSpace.size());
    } else {
      return text;
    }
  }
}

}  // namespace lora_dist
