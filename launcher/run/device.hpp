// Which device a rank computes on. LibTorch's CUDA half is a separate library that is loaded only
// where a GPU is found, so that a run on the CPU starts in a fraction of a second.
#pragma once

#include <string>

namespace lora_dist {

/// `wanted` is auto, cuda or cpu. cuda without a usable GPU is the CPU, with a warning that says
/// why.
at::Device choose_device(const std::string& wanted, int local_rank);

/// Whether no two of `local_world_size` ranks have to share a GPU of this host, which NCCL refuses.
/// Only after choose_device answered with a GPU.
bool has_gpu_for_each_rank(int local_world_size);

}  // namespace lora_dist
