// What a run asks of its data before it opens a tokenizer.
#include "launcher/run/run_data.hpp"

#include <gtest/gtest.h>

#include "tests/support/one_rank_world.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

constexpr auto kIds = R"({"input_ids": [1, 2, 3], "labels": [1, 2, 3]})";
constexpr auto kText = R"({"instruction": "Where is Oslo?", "output": "In Norway."})";

class DataOfARun : public testing::Test {
 protected:
  bool needs_tokenizer(const std::string& train, const std::string& held_out) {
    DataConfig config;
    config.train_data_dir = folder_.write("train.jsonl", train);
    if (!held_out.empty())
      config.val_data_path.sets = {{"", folder_.write("held_out.jsonl", held_out)}};
    return data_needs_tokenizer(config, /*base=*/"", world_);
  }
  TempFolder folder_;
  OneRankWorld world_;
};

TEST_F(DataOfARun, NeedATokenizerWhereTextIsTrainedOrHeldOut) {
  EXPECT_TRUE(needs_tokenizer(kText, ""));
  EXPECT_TRUE(needs_tokenizer(kIds, kText));
}

TEST_F(DataOfARun, NeedNoneWhereAllIsTokenized) {
  EXPECT_FALSE(needs_tokenizer(kIds, ""));
  EXPECT_FALSE(needs_tokenizer(kIds, kIds));
}

}  // namespace
}  // namespace lora_dist
