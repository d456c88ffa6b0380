// The map of the rooms, held against every source file of the tree.
//
// Includes point down (launcher -> data, dist -> core), libraries stay in their room, the
// environment is read in one place. A violation is printed as file:line with the rule it breaks.
// Text is matched line by line: the rules need no parser, and a test that needs none is read in a
// minute.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// `included` (the beginning of an include's path) may appear in files whose path begins with one
/// of `allowed_in`.
struct IncludeRule {
  std::string included;
  std::vector<std::string> allowed_in;
};

const std::vector<IncludeRule>& include_rules() {
  static const std::vector<IncludeRule> rules = {
      // rooms: core knows none of the others, data and dist do not know each other
      {"data/", {"data/", "launcher/"}},
      {"dist/", {"dist/", "launcher/"}},
      {"launcher/", {"launcher/"}},
      // data: parts do not know where their samples come from, records not where they go
      {"data/shards/",
       {"data/shards/", "data/encoders/", "data/preparation/", "data/inspect/", "launcher/"}},
      {"data/encoders/", {"data/encoders/", "data/preparation/", "launcher/"}},
      {"data/preparation/", {"data/preparation/", "data/inspect/", "launcher/"}},
      {"data/streams/", {"data/streams/", "launcher/"}},
      // libraries: a header outside its room is the sign that something sits in the wrong one
      {"hdf5", {"data/"}},
      {"mpi.h", {"dist/"}},
      {"gloo/", {"dist/"}},
      {"nccl.h", {"dist/backends/nccl/"}},  // CUDA's headers come with it
      {"cuda_runtime", {}},
      {"c10/cuda/", {"core/ops/cuda/"}},  // so do these
      {"torch/csrc/distributed/", {"dist/"}},
      {"CLI/", {"launcher/"}},
      {"spdlog/", {"core/base/log.cpp"}},  // 3 s of compile time per file
      {"torch/torch.h", {}},               // 27 s of compile time per file
      {"ATen/ATen.h", {"cmake/"}},         // the precompiled header has it
  };
  return rules;
}

/// Files that read the environment.
const std::vector<std::string> kEnvironmentReaders = {"launcher/environments/", "launcher/start/"};

bool begins_with_one_of(const std::string& text, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return text.starts_with(beginning); });
}

/// The path of an #include line, or "".
std::string included_path(const std::string& line) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || !line.substr(hash).starts_with("#include")) return "";
  const size_t open = line.find_first_of("<\"", hash);
  const size_t close = line.find_first_of(">\"", open + 1);
  return open == std::string::npos ? "" : line.substr(open + 1, close - open - 1);
}

/// One line per violation in a file; `path` is relative to the root of the tree.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string where = fmt::format("{}:{}: ", path, number);
    const std::string included = included_path(line);
    for (const IncludeRule& rule : include_rules()) {
      if (!included.starts_with(rule.included) || begins_with_one_of(path, rule.allowed_in))
        continue;
      found.push_back(where + fmt::format("includes {}, which belongs to [{}]", included,
                                          fmt::join(rule.allowed_in, ", ")));
    }
    if (line.find("getenv(") != std::string::npos && !begins_with_one_of(path, kEnvironmentReaders))
      found.push_back(where + "reads the environment, which belongs to launcher/environments");
  }
  return found;
}

TEST(IncludeArrows, PointDownEverywhereInTheTree) {
  const std::filesystem::path root = LORA_DIST_SOURCE_DIR;
  std::vector<std::string> found;
  size_t num_files = 0;
  for (const char* room : {"core", "data", "dist", "launcher"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / room)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".hpp") continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      for (std::string& violation : violations(entry.path().lexically_relative(root), text.str()))
        found.push_back(std::move(violation));
      ++num_files;
    }
  }
  EXPECT_GT(num_files, 20u) << "no sources below " << root;
  EXPECT_THAT(found, IsEmpty());
}

TEST(IncludeArrows, NamesFileLineAndRuleOfAnIncludeThatPointsUp) {
  EXPECT_THAT(violations("core/training/trainer.cpp",
                         "#include \"core/base/log.hpp\"\n#include \"data/io/files.hpp\"\n"),
              ElementsAre("core/training/trainer.cpp:2: includes data/io/files.hpp, which belongs "
                          "to [data/, launcher/]"));
}

TEST(IncludeArrows, RefuseSidewaysIncludesBothWays) {
  EXPECT_EQ(violations("data/plan.cpp", "#include \"dist/backends/backend.hpp\"").size(), 1u);
  EXPECT_EQ(violations("dist/ring.cpp", "#include \"data/io/files.hpp\"").size(), 1u);
  EXPECT_EQ(violations("dist/ring.cpp", "  #include \"launcher/wiring.hpp\"").size(), 1u);
}

TEST(IncludeArrows, KeepLibrariesInTheirRoom) {
  EXPECT_EQ(violations("dist/ring.cpp", "#include <hdf5.h>").size(), 1u);
  EXPECT_EQ(violations("launcher/main.cpp", "#include <mpi.h>").size(), 1u);
  EXPECT_EQ(violations("core/training/trainer.cpp", "#include <spdlog/spdlog.h>").size(), 1u);
  EXPECT_EQ(violations("core/training/trainer.cpp", "#include <torch/torch.h>").size(), 1u);
  EXPECT_THAT(violations("data/shards.cpp", "#include <hdf5.h>"), IsEmpty());
}

TEST(IncludeArrows, AllowTheEnvironmentInOnePlaceOnly) {
  const std::string read = "const char* rank = std::getenv(\"RANK\");";
  EXPECT_THAT(violations("launcher/environments/torchrun.cpp", read), IsEmpty());
  EXPECT_EQ(violations("core/base/log.cpp", read).size(), 1u);
}

}  // namespace
}  // namespace lora_dist
