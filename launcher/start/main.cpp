// What an installation has as bin/lora-dist: finds LibTorch and becomes the program that needs it.
//
// The program lies in lib/lora-dist beside bin, wherever the two were moved; the loader finds the
// libraries by LD_LIBRARY_PATH, which the program puts back (environments/library_path). Process
// number, arguments and standard streams stay.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "launcher/environments/wait_policy.hpp"
#include "launcher/start/find_torch.hpp"

namespace {

constexpr int kExitConfig = 2;

std::string variable_or_empty(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int fail(const std::string& text) {
  std::fprintf(stderr, "error: %s\n", text.c_str());
  return kExitConfig;
}

}  // namespace

int main(int, char** argv) {
  std::error_code ignored;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::filesystem::path folder = own.parent_path().parent_path() / "lib" / "lora-dist";
  const std::string program = folder / "lora-dist";
  if (access(program.c_str(), X_OK) != 0)
    return fail(program + ": " + std::strerror(errno) +
                "; bin and lib of an installation stay together");

  std::string error;
  const auto torch = lora_dist::find_torch({.asked = variable_or_empty("LORA_DIST_TORCH"),
                                            .beside = folder,
                                            .python_path = variable_or_empty("PYTHONPATH"),
                                            .virtual_env = variable_or_empty("VIRTUAL_ENV"),
                                            .conda_prefix = variable_or_empty("CONDA_PREFIX"),
                                            .path = variable_or_empty("PATH"),
                                            .home = variable_or_empty("HOME")},
                                           LORA_DIST_TORCH_VERSION, error);
  if (!torch) return fail(error);
  const std::string before = variable_or_empty("LD_LIBRARY_PATH");
  setenv("LORA_DIST_LIBRARY_PATH", before.c_str(), /*overwrite=*/1);
  setenv("LORA_DIST_TORCH", torch->folder.c_str(), 1);  // ranks find the same
  setenv("LD_LIBRARY_PATH", (torch->library_path + (before.empty() ? "" : ":" + before)).c_str(),
         1);
  // The program would start itself again with it.
  if (!std::getenv("OMP_WAIT_POLICY") && !std::getenv("GOMP_SPINCOUNT"))
    putenv(const_cast<char*>(lora_dist::kSpinSetting));
  execv(program.c_str(), argv);
  return fail(program + ": " + std::strerror(errno) + "; install it again");
}
