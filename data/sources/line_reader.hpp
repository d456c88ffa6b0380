// Lines of a text file under the rules for hostile input: UTF-8 only, no NUL bytes, bounded length.
// Lines end with LF or CR LF; with CR alone in a file whose beginning has no LF.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lora_dist {

struct Line {
  std::string text;    // without the line end and a byte order mark
  int64_t number = 0;  // from 1
};

class LineReader {
 public:
  /// Errors  StorageError: the file cannot be opened.
  explicit LineReader(std::string path);

  /// The next line, or nothing at the end. Errors  DataError: not UTF-8, a NUL byte, longer than 16
  /// MiB; the next call goes on behind the bad line. StorageError: reading failed.
  std::optional<Line> next();
  std::optional<Line> next_nonblank();

  const std::string& path() const { return path_; }
  std::string where(int64_t line_number) const;

 private:
  bool read_until_line_end(std::string& text);

  std::string path_;
  std::ifstream file_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t line_number_ = 0;
  bool any_read_ = false;
  char line_end_ = '\n';  // told by the first bytes
};

/// The first lines of a file that are not blank, at most 512 and a megabyte: enough to tell who
/// speaks in a dialogue. Lines that are not clean text are left out where others are clean.
std::vector<std::string> first_nonblank_lines(const std::string& path);

/// "path:line", as every message about a place in a data file begins.
std::string place(const std::string& path, int64_t line_number);

/// The rules for text that LineReader applies, for files that are read whole. `first_line` is the
/// number of the line that `text` begins with. Errors  DataError.
void require_clean_text(std::string_view text, const std::string& path, int64_t first_line);

/// Without spaces, tabs, line ends and ideographic spaces at both ends.
std::string_view trimmed(std::string_view text);

inline constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace lora_dist
