// A file as a run of bytes of which only a window is in memory.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

namespace lora_dist {

class ByteWindow {
 public:
  static constexpr int kEnd = -1;

  /// Errors  StorageError: the file cannot be opened.
  explicit ByteWindow(std::string path);

  /// The byte at `offset` of the file, or kEnd behind its last one. `offset` must not have been
  /// forgotten. Errors  StorageError: reading failed.
  int at(size_t offset) {
    if (offset - begin_ < buffer_.size())
      return static_cast<unsigned char>(buffer_[offset - begin_]);
    return read_on(offset);
  }
  /// Bytes that at() has seen; valid until the next call of at().
  std::string_view text(size_t begin, size_t end) const {
    return std::string_view(buffer_).substr(begin - begin_, end - begin);
  }
  /// The window may drop what lies before `offset`.
  void forget(size_t offset) { kept_from_ = offset; }
  /// The first offset from `offset` on that holds neither a blank nor a line end.
  size_t next_nonblank(size_t offset);

  const std::string& path() const { return path_; }

 private:
  int read_on(size_t offset);

  std::string path_;
  std::ifstream file_;
  std::string buffer_;
  size_t begin_ = 0;  // offset of the buffer's first byte
  size_t kept_from_ = 0;
};

/// The offset of the first byte that is neither blank nor part of a byte order mark.
size_t first_content(ByteWindow& bytes);

}  // namespace lora_dist
