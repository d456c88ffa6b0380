#include "launcher/run/device.hpp"

#include <dlfcn.h>

#include <filesystem>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "core/log.hpp"

namespace lora_dist {
namespace {

bool driver_present() { return std::filesystem::exists("/proc/driver/nvidia/version"); }

// Registers the CUDA kernels with LibTorch's dispatcher. Answers why not, or nothing.
std::string load_cuda() {
  if (!driver_present()) return "no NVIDIA driver found";
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    return fmt::format(
        "LibTorch's CUDA half does not load ({}); run make build again on this machine", dlerror());
  if (!at::hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0)
    return "the driver reports no GPU";
  return {};
}

}  // namespace

at::Device choose_device(const std::string& wanted, int local_rank) {
  if (wanted == "cpu") return at::kCPU;
  const std::string obstacle = load_cuda();
  if (obstacle.empty()) {
    const auto count = static_cast<int>(at::detail::getCUDAHooks().deviceCount());
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(local_rank % count));
  }
  if (wanted == "cuda")
    log_warning(fmt::format("device: cuda, but {}; computing on the CPU", obstacle));
  return at::kCPU;
}

}  // namespace lora_dist
