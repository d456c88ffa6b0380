#include "launcher/environments/wait_policy.hpp"

#include <unistd.h>

#include <array>
#include <climits>
#include <string_view>

namespace lora_dist {
namespace {

constexpr size_t kMostVariables = 8191;

bool names_a_policy(std::string_view setting) {
  return setting.starts_with("OMP_WAIT_POLICY=") || setting.starts_with("GOMP_SPINCOUNT=");
}

}  // namespace

void limit_spinning(int /*argc*/, char** argv, char** environment) {
  std::array<char*, kMostVariables + 2> settings;
  size_t num_settings = 0;
  for (; environment[num_settings] != nullptr; ++num_settings) {
    if (num_settings == kMostVariables || names_a_policy(environment[num_settings])) return;
    settings[num_settings] = environment[num_settings];
  }
  settings[num_settings++] = const_cast<char*>(kSpinSetting);
  settings[num_settings] = nullptr;

  std::array<char, PATH_MAX> program;
  const ssize_t size = readlink("/proc/self/exe", program.data(), program.size());
  if (size <= 0 || static_cast<size_t>(size) == program.size()) return;
  program[static_cast<size_t>(size)] = '\0';
  execve(program.data(), argv, settings.data());
  // Still here: slower on a busy machine, and nothing else.
}

}  // namespace lora_dist
