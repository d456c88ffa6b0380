// Memory that a rank of this host may still use.
#pragma once

#include <cstdint>

namespace lora_dist {

/// Free memory of the host or of this process's cgroup, whichever is less, divided by the ranks of
/// the host.
int64_t available_memory_bytes(int local_world_size);

/// From now on freed memory stays with this process and is used again: without this every large
/// activation is a new mapping whose pages the kernel clears, step after step.
void keep_freed_memory();

}  // namespace lora_dist
