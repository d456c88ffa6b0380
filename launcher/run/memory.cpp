#include "launcher/run/memory.hpp"

#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "core/planning/plan.hpp"
#include "launcher/run/device.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

/// The number behind `key` in a file of lines "key number ..."; `missing` where there is none.
int64_t number_of(const std::string& path, const std::string& key, int64_t missing) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    int64_t value = 0;
    if (words >> word && word == key) return words >> value ? value : missing;
  }
  return missing;
}

int64_t host_free(const MemoryFiles& files) {
  const int64_t kilobytes = number_of(files.proc + "/meminfo", "MemAvailable:", kUnlimited);
  return kilobytes == kUnlimited ? kUnlimited : kilobytes * 1024;
}

int64_t read_number(const fs::path& path, int64_t missing) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : missing;  // "max" is no number: no limit
}

/// How a version of cgroups names what is asked here.
struct CgroupVersion {
  const char *limit, *usage, *file_pages;  // file_pages: prefix of the keys in memory.stat
};
constexpr CgroupVersion kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_"};
constexpr CgroupVersion kVersion2 = {"memory.max", "memory.current", ""};

int64_t free_in_cgroup(const fs::path& folder, const CgroupVersion& version) {
  const int64_t limit = read_number(folder / version.limit, kUnlimited);
  if (limit == kUnlimited) return kUnlimited;
  const std::string stat = folder / "memory.stat", prefix = version.file_pages;
  const int64_t droppable =
      number_of(stat, prefix + "inactive_file", 0) + number_of(stat, prefix + "active_file", 0);
  const int64_t usage = read_number(folder / version.usage, 0);
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, usage - droppable));
}

/// The least of `own` (a path below `root`) and all cgroups above it. A container may see its own
/// cgroup as the root and its path as the host names it: folders that are not there have no limit.
int64_t free_up_to(const fs::path& root, fs::path own, const CgroupVersion& version) {
  int64_t least = free_in_cgroup(root, version);
  for (own = own.relative_path(); !own.empty(); own = own.parent_path())
    least = std::min(least, free_in_cgroup(root / own, version));
  return least;
}

int64_t cgroups_free(const MemoryFiles& files) {
  int64_t least = kUnlimited;
  std::ifstream lines(files.proc + "/self/cgroup");  // "0::/a/b" or "4:memory:/a/b"
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      least = std::min(least, free_up_to(files.cgroup, path, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, free_up_to(files.cgroup + "/memory", path, kVersion1));
    }
  }
  return least;
}

// LibTorch takes host memory by posix_memalign, for which glibc looks for a hole that is larger
// than the one the same tensor left: a fifth of the activations was lost to holes so. Asking malloc
// for some bytes more and aligning here, a tensor fits where one of its size was. Where the block
// begins is kept in front of the data, and data and context are one pointer: oneDNN takes its room
// by the raw interface, which insists on that.
class HostAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::kCPU);
    if (bytes == 0) return {nullptr, device};
    void* block = std::malloc(bytes + kAlignment);
    if (block == nullptr) throw std::bad_alloc();
    const uintptr_t address = reinterpret_cast<uintptr_t>(block);
    void* data = reinterpret_cast<void*>((address + kAlignment) / kAlignment * kAlignment);
    static_cast<void**>(data)[-1] = block;  // malloc's own alignment leaves room for it
    return {data, data, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void release(void* data) {
    if (data != nullptr) std::free(static_cast<void**>(data)[-1]);
  }

  static_assert(alignof(std::max_align_t) >= sizeof(void*));
  static constexpr uintptr_t kAlignment = 64;  // of a cache line and of the widest vector
};

}  // namespace

int64_t available_memory_bytes(int local_world_size, const MemoryFiles& files) {
  const int64_t free = std::min(host_free(files), cgroups_free(files));
  if (free == kUnlimited) return kUnlimited;
  const int64_t held = number_of(files.proc + "/self/status", "RssAnon:", 0) * 1024;
  return free / std::max(1, local_world_size) + held;
}

int64_t available_memory_bytes(c10::Device device, int local_world_size) {
  if (device.is_cpu()) return available_memory_bytes(local_world_size);
  const int num_devices = std::max<int>(1, at::detail::getCUDAHooks().deviceCount());
  const int ranks_of_device = has_gpu_for_each_rank(local_world_size)
                                  ? 1
                                  : (local_world_size + num_devices - 1) / num_devices;
  const auto free = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
  // By now the context is there; the plan counts it.
  return static_cast<int64_t>(free) / ranks_of_device + kGpuContextBytes;
}

int64_t resident_bytes(const MemoryFiles& files) {
  int64_t kilobytes = 0;
  for (const char* kind : {"RssAnon:", "RssFile:", "RssShmem:"})
    kilobytes += number_of(files.proc + "/self/status", kind, 0);
  return kilobytes * 1024;
}

void give_back_freed_memory() { malloc_trim(/*pad=*/0); }

void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, 64 << 20);
  static HostAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

}  // namespace lora_dist
