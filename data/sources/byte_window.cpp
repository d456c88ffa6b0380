#include "data/sources/byte_window.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/error.hpp"
#include "data/sources/line_reader.hpp"

namespace lora_dist {
namespace {

constexpr size_t kWindowStepBytes = size_t{1} << 18;

}  // namespace

ByteWindow::ByteWindow(std::string path) : path_(std::move(path)), file_(path_, std::ios::binary) {
  if (!file_) {
    throw StorageError({.where = path_,
                        .found = fmt::format("cannot be opened ({})", std::strerror(errno)),
                        .expected = {},
                        .fix = "check the path and its permissions"});
  }
}

int ByteWindow::read_on(size_t offset) {
  while (offset - begin_ >= buffer_.size()) {
    const size_t dropped = std::min(kept_from_ - std::min(kept_from_, begin_), buffer_.size());
    buffer_.erase(0, dropped);
    begin_ += dropped;
    const size_t had = buffer_.size();
    buffer_.resize(had + kWindowStepBytes);
    file_.read(buffer_.data() + had, kWindowStepBytes);
    buffer_.resize(had + static_cast<size_t>(file_.gcount()));
    if (file_.bad()) {
      throw StorageError({.where = path_,
                          .found = fmt::format("reading failed ({})", std::strerror(errno)),
                          .expected = {},
                          .fix = "check the disk"});
    }
    if (buffer_.size() == had) return kEnd;
  }
  return static_cast<unsigned char>(buffer_[offset - begin_]);
}

size_t ByteWindow::next_nonblank(size_t offset) {
  for (int c = at(offset); c == ' ' || c == '\t' || c == '\r' || c == '\n'; c = at(++offset)) {
  }
  return offset;
}

size_t first_content(ByteWindow& bytes) {
  size_t offset = 0;
  while (offset < kByteOrderMark.size() &&
         bytes.at(offset) == static_cast<unsigned char>(kByteOrderMark[offset]))
    ++offset;
  return bytes.next_nonblank(offset == kByteOrderMark.size() ? offset : 0);
}

}  // namespace lora_dist
