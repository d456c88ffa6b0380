#include "data/reports/report_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/base/log.hpp"

namespace lora_dist {

ReportFile::~ReportFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ReportFile::open(const std::string& path) {
  path_ = path;
  descriptor_ = ::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) switch_off(errno);
}

void ReportFile::append(std::string_view bytes) {
  while (descriptor_ >= 0 && !bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return switch_off(errno);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void ReportFile::switch_off(int error) {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  log_warning(fmt::format("{}: cannot be written ({}), it is off from here on", path_,
                          std::generic_category().message(error)));
}

}  // namespace lora_dist
