// docs/architecture.md is held to the tree: its registries are those there are, and what it names
// exists.

#include <filesystem>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "data/io/files.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

const fs::path kProject = LORA_DIST_SOURCE_DIR;

std::string page() { return read_file((kProject / "docs/architecture.md").string()); }

// What stands between backticks and matches.
std::set<std::string> quoted(const std::string& text, const std::string& pattern) {
  const std::regex expression("`(" + pattern + ")`");
  std::set<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), expression);
       match != std::sregex_iterator(); ++match)
    found.insert((*match)[1].str());
  return found;
}

TEST(ArchitecturePage, NamesEveryRegistryAndNoOther) {
  std::set<std::string> registries;
  for (const char* room : {"core", "data", "dist", "launcher"})
    for (const auto& entry : fs::recursive_directory_iterator(kProject / room))
      if (entry.path().extension() == ".def") registries.insert(entry.path().filename());
  EXPECT_EQ(quoted(page(), "[a-z_]+\\.def"), registries);
}

TEST(ArchitecturePage, NamesNoFileOrFolderThatIsNotThere) {
  for (const std::string& name : quoted(page(), "(?:core|data|dist|launcher|tests)/[a-z0-9_/.]+")) {
    const fs::path path = kProject / name;
    EXPECT_TRUE(fs::exists(path) || fs::exists(path.string() + ".hpp") ||
                fs::exists(path.string() + ".cpp"))
        << name;
  }
}

TEST(ArchitecturePage, LeavesNoSourceAtTheRootOfCoreOrData) {
  for (const char* room : {"core", "data"})
    for (const auto& entry : fs::directory_iterator(kProject / room))
      EXPECT_TRUE(entry.is_directory()) << entry.path();
}

}  // namespace
}  // namespace lora_dist
