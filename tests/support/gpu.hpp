// The GPU of this machine, for tests that are skipped where there is none.
#pragma once

#include <optional>

namespace lora_dist {

/// Loads LibTorch's CUDA half the first time.
std::optional<at::Device> this_machines_gpu();

/// What to print with GTEST_SKIP.
inline constexpr const char* kNoGpu = "no GPU on this machine";

}  // namespace lora_dist
