#include "tests/support/gpu.hpp"

#include "launcher/run/device.hpp"

namespace lora_dist {

std::optional<at::Device> this_machines_gpu() {
  const at::Device device = choose_device("auto", /*local_rank=*/0);
  if (device.is_cuda()) return device;
  return std::nullopt;
}

}  // namespace lora_dist
