// Memory that several processes of one host see.
//
// A memfd: no file system has a name for it, so nothing is left behind whatever dies. The other
// processes open it through /proc/<pid>/fd of its maker.
#pragma once

#include <cstddef>
#include <string>

namespace lora_dist {

class SharedSegment {
 public:
  /// `bytes` bytes of zeros, all of them reserved. Errors  TransportError.
  static SharedSegment create(size_t bytes);
  /// The segment that `ticket` of its maker names. Errors  TransportError: the maker is no process
  /// of this host (two machines may share a name), or its files are not ours to open.
  static SharedSegment open(const std::string& ticket);

  SharedSegment(SharedSegment&& other) noexcept;
  SharedSegment& operator=(SharedSegment&&) = delete;
  ~SharedSegment();

  /// Names the segment to another process of this host; at most 127 characters.
  std::string ticket() const;
  /// Once all have opened it: nobody else can any more.
  void close_door();

  std::byte* data() const;
  size_t size() const { return size_; }

 private:
  SharedSegment(int fd, size_t size);

  int fd_;  // -1 with the door closed
  size_t size_;
  std::byte* begin_ = nullptr;
};

}  // namespace lora_dist
