#include "dist/backends/shared_segment.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include <sys/mman.h>
#include <sys/random.h>

#include "dist/backends/transport.hpp"

namespace lora_dist {
namespace {

// The first bytes hold a random number that the ticket repeats: a pid and a descriptor alone could
// name something else on a machine that merely has the same host name.
constexpr size_t kNonceBytes = 64;

[[noreturn]] void fail_call(const char* call) {
  throw TransportError(fmt::format("{} failed [{}]", call, std::strerror(errno)));
}

}  // namespace

SharedSegment::SharedSegment(int fd, size_t size) : fd_(fd), size_(size) {
  void* begin =
      mmap(nullptr, kNonceBytes + size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
  if (begin == MAP_FAILED) {
    const int error = errno;
    close_door();
    errno = error;
    fail_call("mmap");
  }
  begin_ = static_cast<std::byte*>(begin);
}

SharedSegment::SharedSegment(SharedSegment&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      begin_(std::exchange(other.begin_, nullptr)) {}

SharedSegment::~SharedSegment() {
  close_door();
  if (begin_) munmap(begin_, kNonceBytes + size_);
}

SharedSegment SharedSegment::create(size_t bytes) {
  const int fd = memfd_create("lora-dist", MFD_CLOEXEC);
  if (fd < 0) fail_call("memfd_create");
  // Reserved now: running out of memory later would be a SIGBUS in the middle of a step.
  if (const int error = posix_fallocate(fd, 0, static_cast<off_t>(kNonceBytes + bytes))) {
    close(fd);
    errno = error;
    fail_call("posix_fallocate");
  }
  SharedSegment segment(fd, bytes);
  uint64_t nonce = 0;
  if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) fail_call("getrandom");
  std::memcpy(segment.begin_, &nonce, sizeof nonce);
  return segment;
}

std::string SharedSegment::ticket() const {
  uint64_t nonce = 0;
  std::memcpy(&nonce, begin_, sizeof nonce);
  return fmt::format("{} {} {} {}", getpid(), fd_, size_, nonce);
}

SharedSegment SharedSegment::open(const std::string& ticket) {
  std::istringstream fields(ticket);
  int pid = 0, fd = 0;
  size_t size = 0;
  uint64_t nonce = 0, found = 0;
  if (!(fields >> pid >> fd >> size >> nonce)) throw TransportError("no shared segment was made");
  const int own_fd = ::open(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), O_RDWR | O_CLOEXEC);
  if (own_fd < 0) fail_call("open of the maker's segment");
  // Whatever it is, it is mapped only if it holds what was announced.
  const off_t file_size = lseek(own_fd, 0, SEEK_END);
  if (file_size != static_cast<off_t>(kNonceBytes + size) ||
      pread(own_fd, &found, sizeof found, 0) != sizeof found || found != nonce) {
    close(own_fd);
    throw TransportError("the maker of the shared segment is on another machine");
  }
  return SharedSegment(own_fd, size);
}

void SharedSegment::close_door() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

std::byte* SharedSegment::data() const { return begin_ + kNonceBytes; }

}  // namespace lora_dist
