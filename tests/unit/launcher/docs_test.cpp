// The pages of docs/ are found from README, and links inside the tree lead somewhere.
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>

#include "launcher/help/exit_codes.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

const fs::path kTree = LORA_DIST_SOURCE_DIR;

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::vector<fs::path> pages() {
  std::vector<fs::path> found = {kTree / "README.md"};
  for (const auto& entry : fs::directory_iterator(kTree / "docs"))
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  return found;
}

/// Targets of [text](target) that lie in this tree, without their #anchor.
std::vector<std::string> links_of(const std::string& text) {
  static const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  std::vector<std::string> targets;
  for (std::sregex_iterator at(text.begin(), text.end(), link), end; at != end; ++at)
    if ((*at)[1].str().find("://") == std::string::npos) targets.push_back((*at)[1]);
  return targets;
}

TEST(Docs, LinksLeadSomewhere) {
  for (const fs::path& page : pages())
    for (const std::string& target : links_of(text_of(page)))
      EXPECT_TRUE(fs::exists(page.parent_path() / target)) << page << ": " << target;
}

TEST(Docs, ReadmeLinksToEveryPage) {
  const std::vector<std::string> targets = links_of(text_of(kTree / "README.md"));
  for (const fs::path& page : pages()) {
    if (page.filename() == "README.md") continue;
    const std::string target = fs::relative(page, kTree);
    EXPECT_NE(std::find(targets.begin(), targets.end(), target), targets.end()) << target;
  }
}

TEST(Docs, TroubleshootingHasEveryExitCodeOfAFailure) {
  const std::string text = text_of(kTree / "docs/troubleshooting.md");
  for (const ExitCode& exit : kExitCodes) {
    if (exit.code == 0) continue;
    EXPECT_NE(text.find("\n| " + std::to_string(exit.code) + " |"), std::string::npos) << exit.code;
  }
}

}  // namespace
}  // namespace lora_dist
