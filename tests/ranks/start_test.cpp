// What ranks compare before they begin.
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "launcher/run/world.hpp"
#include "tests/support/ranks.hpp"

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

}  // namespace
}  // namespace lora_dist
