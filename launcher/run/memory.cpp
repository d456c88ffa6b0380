#include "launcher/run/memory.hpp"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace lora_dist {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

int64_t host_available() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key, unit;
  int64_t kilobytes = 0;
  while (meminfo >> key >> kilobytes >> unit) {
    if (key == "MemAvailable:") return kilobytes * 1024;
  }
  return kUnlimited;
}

int64_t read_number(const std::string& path, int64_t missing) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : missing;  // "max" is no number: no limit
}

int64_t cgroup_available() {
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max", kUnlimited);
  return limit == kUnlimited ? kUnlimited : limit - read_number("/sys/fs/cgroup/memory.current", 0);
}

}  // namespace

int64_t available_memory_bytes(int local_world_size) {
  return std::min(host_available(), cgroup_available()) / std::max(1, local_world_size);
}

void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace lora_dist
