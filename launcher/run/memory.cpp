#include "launcher/run/memory.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <new>
#include <string>

#include <c10/core/CPUAllocator.h>

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

// LibTorch takes host memory by posix_memalign, for which glibc looks for a hole that is larger
// than the one the same tensor left: a fifth of the activations was lost to holes so. Asking malloc
// for some bytes more and aligning here, a tensor fits where one of its size was.
class HostAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::kCPU);
    if (bytes == 0) return {nullptr, device};
    void* block = std::malloc(bytes + kAlignment);
    if (block == nullptr) throw std::bad_alloc();
    const uintptr_t address = reinterpret_cast<uintptr_t>(block);
    void* data = reinterpret_cast<void*>((address + kAlignment) / kAlignment * kAlignment);
    return {data, block, &std::free, device};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static constexpr uintptr_t kAlignment = 64;  // of a cache line and of the widest vector
};

}  // namespace

int64_t available_memory_bytes(int local_world_size) {
  return std::min(host_available(), cgroup_available()) / std::max(1, local_world_size);
}

void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
  static HostAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

}  // namespace lora_dist
