#include "tests/support/temp_folder.hpp"

#include <cstdlib>
#include <fstream>

namespace lora_dist {

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "lora-dist-XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::write(const std::string& name, const std::string& content) const {
  const std::filesystem::path target = path_ / name;
  std::filesystem::create_directories(target.parent_path());
  std::ofstream(target, std::ios::binary) << content;
  return target.string();
}

}  // namespace lora_dist
