#include "launcher/environments/wait_policy.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr auto kSpins =
    "20000";  // a few tenths of a millisecond: longer than from one product to the next

}  // namespace

void limit_spinning(char** argv) {
  if (variable("OMP_WAIT_POLICY") || variable("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", kSpins, /*overwrite=*/1);
  std::error_code unknown;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (!unknown) execv(program.c_str(), argv);
  // Still here: slower on a busy machine, and nothing else.
}

}  // namespace lora_dist
