#include "launcher/environments/wait_policy.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "launcher/environments/variables.hpp"

namespace lora_dist {

void wait_without_spinning(char** argv) {
  if (variable("OMP_WAIT_POLICY") || variable("GOMP_SPINCOUNT")) return;
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/1);
  std::error_code unknown;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (!unknown) execv(program.c_str(), argv);
  // Still here: slower on a busy machine, and nothing else.
}

}  // namespace lora_dist
