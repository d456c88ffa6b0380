#include "launcher/environments/library_path.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "launcher/environments/variables.hpp"

namespace lora_dist {
namespace {

constexpr const char* kBefore = "LORA_DIST_LIBRARY_PATH";  // set by launcher/start

}  // namespace

void restore_library_path() {
  const std::optional<std::string> before = variable(kBefore);
  if (before && !before->empty()) {
    setenv("LD_LIBRARY_PATH", before->c_str(), /*overwrite=*/1);
  } else if (std::getenv(kBefore) != nullptr) {
    unsetenv("LD_LIBRARY_PATH");
  }
  unsetenv(kBefore);
}

std::string program_to_start(const std::string& own_path) {
  const std::filesystem::path folder = std::filesystem::path(own_path).parent_path();
  if (folder.filename() != "lora-dist" || folder.parent_path().filename() != "lib") return own_path;
  const std::string start = folder.parent_path().parent_path() / "bin" / "lora-dist";
  return access(start.c_str(), X_OK) == 0 ? start : own_path;
}

}  // namespace lora_dist
