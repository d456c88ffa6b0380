#include <filesystem>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/io/files.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "tests/support/byte_tokenizer.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// 7 parts of records "0", "1", ...
constexpr int64_t kNumRecords = 6 * 2048 + 100;

std::string many_records() {
  std::string lines;
  for (int64_t i = 0; i < kNumRecords; ++i) lines += fmt::format("{{\"text\": \"{}\"}}\n", i);
  return lines;
}

PrepareRequest request_for(const TempFolder& folder, const std::string& path) {
  return {.path = path, .prepared_dir = folder.file("prepared"), .vocab_size = 259};
}

/// Name and SHA-256 of everything below a folder.
std::map<std::string, std::string> hashes_below(const std::string& folder) {
  std::map<std::string, std::string> hashes;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      hashes[fs::relative(entry.path(), folder).string()] = file_sha256(entry.path().string());
  return hashes;
}

TEST(Preparation, MakesTheSameFilesWithAnyNumberOfRanks) {
  const ByteTokenizer tokenizer;
  const ByteTemplate prompt_template;
  const std::string lines = many_records();
  std::map<std::string, std::string> expected;
  for (const int world_size : {1, 2, 3, 8}) {
    const TempFolder folder;
    const std::string path = folder.write("data.jsonl", lines);
    run_ranks(world_size, [&](Communicator& world) {
      const auto dataset =
          prepare_dataset(request_for(folder, path), &tokenizer, &prompt_template, world);
      EXPECT_EQ(dataset->num_samples(), kNumRecords);
      EXPECT_EQ(tokenizer.decode(tokens_of(dataset->read(5000)).ids, true), "5000");
    });
    const auto hashes = hashes_below(folder.file("prepared"));
    EXPECT_EQ(hashes.size(), 8u) << "7 parts and a manifest";
    if (expected.empty()) expected = hashes;
    EXPECT_EQ(hashes, expected) << world_size << " ranks";
  }
}

/// What each rank threw, in rank order.
std::vector<std::string> errors_of(int world_size, const std::function<void(Communicator&)>& body) {
  std::vector<std::string> errors(world_size);
  std::mutex mutex;
  run_ranks(world_size, [&](Communicator& world) {
    try {
      body(world);
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      errors[world.rank()] = error.what();
    }
  });
  return errors;
}

TEST(Preparation, EndsOnEveryRankWithTheLineOfTheRankThatMetTheBrokenRecord) {
  const ByteTokenizer tokenizer;
  const ByteTemplate prompt_template;
  const TempFolder folder;
  std::string lines = many_records();
  lines.replace(lines.find("{\"text\": \"3000\"}"), 1,
                "[");  // in the second part: rank 1 builds it
  const std::string path = folder.write("data.jsonl", lines);
  const auto errors = errors_of(3, [&](Communicator& world) {
    prepare_dataset(request_for(folder, path), &tokenizer, &prompt_template, world);
  });
  EXPECT_THAT(errors[0], testing::StartsWith(path + ":3001: "));
  EXPECT_EQ(errors[1], errors[0]);
  EXPECT_EQ(errors[2], errors[0]);
}

TEST(OnAllRanks, GathersWhatEveryRankReturned) {
  run_ranks(3, [](Communicator& world) {
    EXPECT_EQ(on_all_ranks(world, [&] { return std::string(world.rank(), 'x'); }),
              (std::vector<std::string>{"", "x", "xx"}));
  });
}

TEST(OnAllRanks, ThrowsTheErrorOfTheLowestRankWithItsKind) {
  const auto body = [](Communicator& world) {
    on_all_ranks(world, [&]() -> std::string {
      if (world.rank() == 0) return "fine";
      throw StorageError({.where = fmt::format("out/{}", world.rank()),
                          .found = "disk full",
                          .expected = {},
                          .fix = "free: space"});
    });
  };
  for (const std::string& error : errors_of(3, body))
    EXPECT_EQ(error, "out/1: disk full; free: space");
  EXPECT_THROW(run_ranks(3, body), StorageError);
}

}  // namespace
}  // namespace lora_dist
