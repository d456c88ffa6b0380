// Memory that a rank may take, from files as the kernel writes them.
#include "launcher/run/memory.hpp"

#include <cstring>

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kMiB = 1 << 20;

class AvailableMemory : public testing::Test {
 protected:
  // A host with 800 MiB free, in which this process holds 20.
  AvailableMemory() {
    folder_.write("proc/meminfo", "MemTotal: 1024000 kB\nMemAvailable:     819200 kB\n");
    folder_.write("proc/self/status", "VmRSS:\t 40960 kB\nRssAnon:\t 20480 kB\n");
  }
  int64_t of_a_rank(int local_world_size) const {
    return available_memory_bytes(local_world_size, {folder_.file("proc"), folder_.file("cgroup")});
  }
  TempFolder folder_;
};

TEST_F(AvailableMemory, IsAShareOfWhatTheHostHasFreeAndWhatTheRankHolds) {
  EXPECT_EQ(of_a_rank(1), 820 * kMiB);
  EXPECT_EQ(of_a_rank(4), 220 * kMiB);
}

TEST_F(AvailableMemory, IsNoMoreThanTheCgroupLeavesPagesOfFilesNotCounted) {
  folder_.write("proc/self/cgroup", "0::/job/step\n");
  folder_.write("cgroup/job/step/memory.max", "max\n");
  folder_.write("cgroup/job/memory.max", std::to_string(500 * kMiB));
  folder_.write("cgroup/job/memory.current", std::to_string(400 * kMiB));
  folder_.write("cgroup/job/memory.stat", "anon 1\ninactive_file " + std::to_string(250 * kMiB) +
                                              "\nactive_file " + std::to_string(50 * kMiB) + "\n");
  EXPECT_EQ(of_a_rank(1), 420 * kMiB);  // 500 - (400 - 300), and 20 held
}

TEST_F(AvailableMemory, ReadsVersionOneOfCgroupsToo) {
  folder_.write("proc/self/cgroup", "5:cpu,memory:/job\n0::/\n");
  folder_.write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  folder_.write("cgroup/memory/job/memory.limit_in_bytes", std::to_string(300 * kMiB));
  folder_.write("cgroup/memory/job/memory.usage_in_bytes", std::to_string(200 * kMiB));
  folder_.write("cgroup/memory/job/memory.stat",
                "inactive_file 0\ntotal_inactive_file " + std::to_string(60 * kMiB) + "\n");
  EXPECT_EQ(of_a_rank(2), 100 * kMiB);  // (300 - (200 - 60)) / 2, and 20 held
}

TEST_F(AvailableMemory, TakesTheRootForTheOwnCgroupInAContainer) {
  folder_.write("proc/self/cgroup", "0::/docker/0123456789\n");
  folder_.write("cgroup/memory.max", std::to_string(100 * kMiB));
  folder_.write("cgroup/memory.current", std::to_string(30 * kMiB));
  EXPECT_EQ(of_a_rank(1), 90 * kMiB);
}

TEST(FreedMemory, IsServedByTheRawInterfaceToo) {
  keep_freed_memory();
  c10::Allocator& allocator = *c10::GetCPUAllocator();
  for (const size_t bytes : {size_t{1}, size_t{1000}, size_t{5} << 20}) {
    void* data = allocator.raw_allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    std::memset(data, 7, bytes);
    allocator.raw_deallocate(data);
  }
  allocator.raw_deallocate(allocator.raw_allocate(0));
}

}  // namespace
}  // namespace lora_dist
