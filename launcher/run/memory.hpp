// Memory that a rank of this host may still use.
#pragma once

#include <cstdint>
#include <string>

#include <c10/core/Device.h>

namespace lora_dist {

/// Where the kernel tells about memory; tests write their own.
struct MemoryFiles {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

/// Host memory that this rank may come to hold: what it holds now, and its share of what is free on
/// the host or within the limits of its cgroups (v1 and v2), whichever is less. Pages of files
/// count as free: the kernel drops them when memory is short.
int64_t available_memory_bytes(int local_world_size, const MemoryFiles& files = {});

/// The same of the memory that `device` computes in, for one of `local_world_size` ranks on this
/// host.
int64_t available_memory_bytes(c10::Device device, int local_world_size);

/// What this process holds: its own memory and the pages of files that it has mapped and touched.
int64_t resident_bytes(const MemoryFiles& files = {});

/// What is freed now goes back to the system, also after keep_freed_memory().
void give_back_freed_memory();

/// From now on freed memory stays with this process and is used again: without this every large
/// activation is a new mapping whose pages the kernel clears, step after step.
void keep_freed_memory();

}  // namespace lora_dist
