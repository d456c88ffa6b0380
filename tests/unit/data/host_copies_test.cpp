#include "data/io/host_copies.hpp"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/weights/base_view.hpp"
#include "tests/support/byte_tokenizer.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// Two hosts of two ranks each; a folder of its own stands for each host's disk.
class HostCopiesTest : public testing::Test {
 protected:
  void on_two_hosts(const std::function<void(Communicator&, const std::string& disk)>& body) {
    run_ranks(4, [&](Communicator& world) { body(world, disk(world.rank() / 2)); },
              {.hosts = hosts});
  }
  std::string disk(int host) const { return folder.file(host == 0 ? "left" : "right"); }
  std::string error_on_two_hosts(
      const std::function<void(Communicator&, const std::string& disk)>& body) {
    try {
      on_two_hosts(body);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TempFolder folder;
  std::vector<std::string> hosts = {"left", "left", "right", "right"};
};

TEST_F(HostCopiesTest, ARankSeesAFolderOfRankZeroOnlyOnItsHost) {
  on_two_hosts([](Communicator& world, const std::string& disk) {
    EXPECT_THAT(ranks_that_share(disk + "/shared", world), ElementsAre(true, true, false, false));
  });
  EXPECT_TRUE(fs::is_empty(disk(0) + "/shared")) << "the probe is removed";
}

TEST_F(HostCopiesTest, OnlyWhatAHostLacksIsCopied) {
  std::string long_text(40'000'000, 'x');  // more than travels at once
  long_text.replace(17'000'000, 3, "mid");
  folder.write("left/a.txt", long_text);
  folder.write("left/b.txt", "of rank 0");
  folder.write("left/empty.txt", "");
  folder.write("right/b.txt", "of right!");  // as long: it stays
  on_two_hosts([](Communicator& world, const std::string& disk) {
    copy_to_hosts(
        {.names = world.rank() == 0 ? std::vector<std::string>{"a.txt", "b.txt", "empty.txt"}
                                    : std::vector<std::string>{},
         .from = disk,
         .to = disk,
         .wanted = true},
        world);
  });
  EXPECT_TRUE(read_file(disk(1) + "/a.txt") == long_text);
  EXPECT_EQ(read_file(disk(1) + "/b.txt"), "of right!");
  EXPECT_EQ(read_file(disk(1) + "/empty.txt"), "");
}

TEST_F(HostCopiesTest, AHostThatCannotWriteEndsAllRanksAndLeavesNothingHalfWritten) {
  folder.write("left/a.txt", "text");
  folder.write("right", "a file in the place of the folder");
  const std::string error = error_on_two_hosts([](Communicator& world, const std::string& disk) {
    copy_to_hosts({.names = {"a.txt"}, .from = disk, .to = disk, .wanted = world.rank() > 1},
                  world);
  });
  EXPECT_THAT(error, HasSubstr("is a file"));
}

TEST_F(HostCopiesTest, AHostWithWeightsAloneReadsConfigAndTokenizerOfRankZero) {
  for (const char* host : {"left", "right"})
    folder.write(fmt::format("{}/model/model.safetensors", host), "weights");
  folder.write("left/model/config.json", "{}");
  folder.write("left/model/tokenizer.json", "{\"model\": 1}");
  on_two_hosts([](Communicator& world, const std::string& disk) {
    const std::string opened = open_base_view(disk + "/model", disk + "/view", world);
    EXPECT_EQ(opened, disk + (world.rank() < 2 ? "/model" : "/view"));
    EXPECT_EQ(read_file(opened + "/tokenizer.json"), "{\"model\": 1}");
    EXPECT_EQ(read_file(opened + "/model.safetensors"), "weights");
  });
  EXPECT_FALSE(fs::exists(disk(1) + "/model/config.json")) << "the user's folder stays as it is";
}

TEST_F(HostCopiesTest, ACopyThatAnEarlierRunLeftIsReplaced) {
  for (const char* host : {"left", "right"})
    folder.write(fmt::format("{}/model/model.safetensors", host), "weights");
  folder.write("left/model/config.json", "{\"new\": 1}");
  folder.write("right/view/config.json", "{\"old\": 1}");  // as long
  on_two_hosts([](Communicator& world, const std::string& disk) {
    const std::string opened = open_base_view(disk + "/model", disk + "/view", world);
    EXPECT_EQ(read_file(opened + "/config.json"), "{\"new\": 1}");
  });
}

TEST_F(HostCopiesTest, AHostWithoutTheWeightsIsNamed) {
  folder.write("left/model/config.json", "{}");
  folder.write("left/model/model.safetensors", "weights");
  folder.write("right/model/config.json", "{}");
  const std::string error = error_on_two_hosts([](Communicator& world, const std::string& disk) {
    open_base_view(disk + "/model", disk + "/view", world);
  });
  EXPECT_THAT(error, HasSubstr("rank 2 (right)"));
  EXPECT_THAT(error, HasSubstr("'model.safetensors' is missing"));
}

std::string record(const std::string& answer) {
  return nlohmann::json{{"instruction", "q"}, {"output", answer}}.dump() + "\n";
}

class DataOnOneHost : public HostCopiesTest {
 protected:
  std::unique_ptr<Dataset> prepare(Communicator& world, const std::string& disk) {
    return prepare_dataset(
        {.path = disk + "/data.jsonl", .prepared_dir = disk + "/prepared", .vocab_size = 259},
        &tokenizer, &prompt_template, world);
  }
  ByteTokenizer tokenizer;
  ByteTemplate prompt_template;
};

TEST_F(DataOnOneHost, IsReadByTheRanksOfTheOtherOne) {
  folder.write("left/data.jsonl", record("abc") + record("de"));
  on_two_hosts([&](Communicator& world, const std::string& disk) {
    const auto dataset = prepare(world, disk);
    ASSERT_EQ(dataset->num_samples(), 2);
    EXPECT_THAT(tokens_of(dataset->read(1)).ids, ElementsAre(1, 3 + 'q', 3 + 'd', 3 + 'e', 2));
    EXPECT_EQ(dataset->stats().num_records, 2);
  });
}

TEST_F(DataOnOneHost, MayLieOnTheOtherToo) {
  folder.write("left/data.jsonl", record("abc"));
  folder.write("right/data.jsonl", record("abc"));
  on_two_hosts([&](Communicator& world, const std::string& disk) {
    EXPECT_EQ(prepare(world, disk)->num_samples(), 1);
  });
}

TEST_F(DataOnOneHost, MustNotDifferFromThatOfTheOther) {
  folder.write("left/data.jsonl", record("abc"));
  folder.write("right/data.jsonl", record("abd"));
  EXPECT_THAT(error_on_two_hosts(
                  [&](Communicator& world, const std::string& disk) { prepare(world, disk); }),
              HasSubstr("rank 2 (right): its data is not that of rank 0 (left)"));
}

TEST_F(DataOnOneHost, MustNotDifferWherePartsAreShared) {
  folder.write("left/data.jsonl", record("abc"));
  folder.write("right/data.jsonl", record("abd"));
  for (const bool is_validation : {false, true}) {
    const std::string error = error_on_two_hosts([&](Communicator& world, const std::string& disk) {
      prepare_dataset({.path = disk + "/data.jsonl",
                       .use = is_validation ? DataUse::kEvaluation : DataUse::kTraining,
                       .prepared_dir = folder.file("prepared"),
                       .vocab_size = 259},
                      &tokenizer, &prompt_template, world);
    });
    EXPECT_THAT(error, HasSubstr(is_validation ? "its validation data is not that of rank 0 (left)"
                                               : "rank 2 (right): its data is not"));
    EXPECT_THAT(error, HasSubstr(is_validation ? "under val_data_path" : "under train_data_dir"));
  }
}

/// Ranks of one host that were started in different folders.
class TwoFoldersOfOneHost : public DataOnOneHost {
 protected:
  TwoFoldersOfOneHost() { hosts = {"vm", "vm", "vm", "vm"}; }
};

TEST_F(TwoFoldersOfOneHost, MayHoldCopiesOrNoDataAtAll) {
  folder.write("left/data.jsonl", record("abc"));
  on_two_hosts([&](Communicator& world, const std::string& disk) {
    EXPECT_EQ(prepare(world, disk)->num_samples(), 1);
  });
  folder.write("left/data.jsonl", record("abc") + record("de"));
  folder.write("right/data.jsonl", record("abc") + record("de"));
  on_two_hosts([&](Communicator& world, const std::string& disk) {
    EXPECT_EQ(prepare(world, disk)->num_samples(), 2);
  });
}

TEST_F(TwoFoldersOfOneHost, MustNotHoldOtherData) {
  folder.write("left/data.jsonl", record("abc"));
  folder.write("right/data.jsonl", record("abd"));
  EXPECT_THAT(error_on_two_hosts(
                  [&](Communicator& world, const std::string& disk) { prepare(world, disk); }),
              HasSubstr("rank 2 (vm): its data is not that of rank 0 (vm)"));
}

TEST_F(TwoFoldersOfOneHost, AreNamedWhereTheBaseIsMissing) {
  folder.write("left/model/config.json", "{}");
  folder.write("left/model/model.safetensors", "weights");
  const auto open = [](Communicator& world, const std::string& disk) {
    open_base_view(disk + "/model", disk + "/view", world);
  };
  EXPECT_THROW(on_two_hosts(open), ModelError);
  EXPECT_THAT(error_on_two_hosts(open),
              testing::AllOf(HasSubstr("rank 2 (vm)"), HasSubstr("no such folder")));
}

}  // namespace
}  // namespace lora_dist
