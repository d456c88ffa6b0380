// What ranks compare before they begin.
#include <filesystem>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "launcher/run/world.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using Fingerprints = nlohmann::ordered_json;

/// The error of every rank, which must be one and the same.
std::string error_at_start(const std::function<Fingerprints(int rank)>& fingerprints_of) {
  std::vector<std::string> errors(3);
  run_ranks(3,
            [&](Communicator& world) {
              try {
                compare_fingerprints(fingerprints_of(world.rank()), world);
              } catch (const ConfigError& error) {
                errors[world.rank()] = error.what();
              }
            },
            {.hosts = {"h1", "h2", "h3"}});
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  return errors[0];
}

TEST(CompareFingerprints, IsContentWithRanksThatHaveTheSame) {
  EXPECT_EQ(error_at_start([](int) { return Fingerprints{{"base", "b"}, {"data", "d"}}; }), "");
}

TEST(CompareFingerprints, NamesTheRankWithAnotherBase) {
  EXPECT_EQ(error_at_start([](int rank) {
              return Fingerprints{{"base", rank == 0 ? "another" : "b"}, {"data", "d"}};
            }),
            "rank 0 (h1): its base model is not that of rank 1 (h2), expected the same base model "
            "on every host; give all hosts the same files under base_model");
}

TEST(CompareFingerprints, NamesTheRankWithOtherData) {
  EXPECT_EQ(error_at_start([](int rank) {
              return Fingerprints{{"base", "b"}, {"data", rank == 2 ? "other" : "d"}};
            }),
            "rank 2 (h3): its data is not that of rank 0 (h1), expected the same data on every "
            "host; give all hosts the same files under train_data_dir or metadata_path");
}

TEST(ComparePaths, NamesTheRankOfAHostThatSeesOtherData) {
  const TempFolder folder;
  folder.write("a/data.jsonl", "a");
  folder.write("b/data.jsonl", "b");
  const auto error_of = [&](const std::vector<std::string>& hosts) {
    std::vector<std::string> errors(2);
    run_ranks(2,
              [&](Communicator& world) {
                Config config;
                config.data.train_data_dir = folder.file(world.rank() == 0 ? "a" : "b");
                try {
                  compare_paths(config, world);
                } catch (const ConfigError& error) {
                  errors[world.rank()] = error.what();
                }
              },
              {.hosts = hosts});
    EXPECT_EQ(errors[0], errors[1]);
    return errors[0];
  };
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(error_of({"h1", "h1"}),
            fmt::format("rank 1 (h1): its train_data_dir is not that of rank 0, started in {} and "
                        "{}, expected the same files for all ranks of a host; start all ranks in "
                        "one folder, or write absolute paths",
                        here, here));
  EXPECT_EQ(error_of({"h1", "h2"}), "");  // compared by content, elsewhere
}

}  // namespace
}  // namespace lora_dist
