#include "launcher/run/device.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "core/base/log.hpp"

namespace lora_dist {
namespace {

const std::filesystem::path kDriver = "/proc/driver/nvidia";

bool driver_present() { return std::filesystem::exists(kDriver / "version"); }

int num_gpus() { return static_cast<int>(at::detail::getCUDAHooks().deviceCount()); }

// Registers the CUDA kernels with LibTorch's dispatcher. Answers why not, or nothing.
std::string load_cuda() {
  if (!driver_present()) return "no NVIDIA driver found";
  // cuBLAS promises the same bits in every run with it; LibTorch refuses products without it while
  // its switch for one order of sums is on (core/ops/flash_attention). A user's own value stays.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    return fmt::format(
        "LibTorch's CUDA half does not load ({}); run make build again on this machine", dlerror());
  if (!at::hasCUDA() || num_gpus() == 0) return "the driver reports no GPU";
  return {};
}

}  // namespace

at::Device choose_device(const std::string& wanted, int local_rank) {
  if (wanted == "cpu") return at::kCPU;
  const std::string obstacle = load_cuda();
  if (obstacle.empty())
    return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(local_rank % num_gpus()));
  if (wanted == "cuda")
    log_warning(fmt::format("device: cuda, but {}; computing on the CPU", obstacle));
  return at::kCPU;
}

bool has_gpu_for_each_rank(int local_world_size) {
  const int visible = num_gpus();
  if (visible >= local_world_size) return true;
  // A scheduler that binds GPUs to tasks (srun --gpus-per-task) shows each rank only its own.
  std::error_code unreadable;
  const std::filesystem::directory_iterator gpus(kDriver / "gpus", unreadable);
  return visible == 1 && !unreadable && std::distance(begin(gpus), end(gpus)) >= local_world_size;
}

}  // namespace lora_dist
