// lora-dist tokenize, without a process: options in, standard output out.
#include <sstream>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/tokenizers/tokenizer.hpp"
#include "tests/support/command_output.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/text_parts.hpp"

namespace lora_dist {
namespace {

const std::string kBases = LORA_DIST_SOURCE_DIR "/tests/golden/tokenizers/";

std::string tokenize(std::vector<std::string> arguments) {
  return output_of_command("tokenize", std::move(arguments));
}

std::vector<nlohmann::json> records(const std::string& output) {
  std::vector<nlohmann::json> result;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) result.push_back(nlohmann::json::parse(line));
  return result;
}

TEST(TokenizeCommand, PrintsOneRecordOfThreeListsForAText) {
  const auto shown = records(tokenize({"--base", kBases + "llama3", "--json", "--text", "Hi"}));
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].size(), 3u);
  EXPECT_EQ(shown[0]["pieces"].front(), "<|begin_of_text|>");
  EXPECT_EQ(shown[0]["pieces"].back(), "<|eot_id|>");
  EXPECT_EQ(shown[0]["ids"].size(), shown[0]["pieces"].size());
  EXPECT_EQ(shown[0]["loss_mask"].size(), shown[0]["ids"].size());
  EXPECT_EQ(shown[0]["loss_mask"].front(), 0);
  EXPECT_EQ(shown[0]["loss_mask"].back(), 1);
}

TEST(TokenizeCommand, ReadsOneConversationPerLineAndCutsLongOnes) {
  const TempFolder folder;
  const std::string path =
      folder.write("chat.jsonl",
                   R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}])"
                   "\n\n"
                   R"({"messages": [{"role": "user", "content": "Hi"}]})"
                   "\n");
  const auto shown = records(tokenize({"--base", kBases + "qwen2", "--json", "--messages",
                                       "--template", "chatml", "--file", path}));
  ASSERT_EQ(shown.size(), 2u);
  EXPECT_EQ(shown[0]["pieces"].front(), "<|im_start|>");
  EXPECT_GT(std::count(shown[0]["loss_mask"].begin(), shown[0]["loss_mask"].end(), 1), 1);
  EXPECT_EQ(std::count(shown[1]["loss_mask"].begin(), shown[1]["loss_mask"].end(), 1),
            0);  // waits for its answer
  const auto cut =
      records(tokenize({"--base", kBases + "qwen2", "--json", "--messages", "--template", "chatml",
                        "--max-seq-length", "4", "--file", path}));
  EXPECT_EQ(cut[0]["ids"].size(), 4u);
  EXPECT_EQ(cut[0]["loss_mask"].size(), 4u);
}

TEST(TokenizeCommand, NamesTheLineOfABrokenConversation) {
  const TempFolder folder;
  const std::string path = folder.write("chat.jsonl", "[]\n");
  try {
    tokenize({"--base", kBases + "qwen2", "--messages", "--file", path});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(
        error.what(),
        path + R"(:1: no list of messages, expected [{"role": "user", "content": "..."}, ...])");
  }
}

TEST(TokenizeCommand, ShowsDataOfEveryFormatAsTrainingSeesThem) {
  const TempFolder folder;
  const std::string base = kBases + "llama3";
  const auto learnt_of = [&](const std::string& path, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--base", base, "--json", "--template", "llama3", "--file", path});
    std::vector<int64_t> counts;
    for (const auto& record : records(tokenize(more)))
      counts.push_back(std::count(record["loss_mask"].begin(), record["loss_mask"].end(), 1));
    return counts;
  };
  const std::string two =
      R"([{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}])";
  const std::vector<int64_t> each = {2, 2};  // the letter and <|eot_id|>
  EXPECT_EQ(learnt_of(folder.write("list.json", two)), each);
  EXPECT_EQ(learnt_of(folder.write("table.csv", "instruction,output\na,b\nc,d\n")), each);
  EXPECT_EQ(learnt_of(folder.write("talk.txt", "Q: a\nA: b\n\nQ: c\nA: d\n")), each);
  EXPECT_EQ(learnt_of(folder.file("list.json"), {"--count", "1"}).size(), 1u);
  EXPECT_GT(learnt_of(folder.file("list.json"), {"--train-on-prompt"})[0], 2);

  const auto tokenizer = load_tokenizer(base);
  write_part(folder.file("part.h5"), {.origins = {{"tokenizer_sha256", tokenizer->sha256()}}},
             text_content({{{1, 2, 3}, {0, 1, 1}}}));
  EXPECT_EQ(learnt_of(folder.file("part.h5")), std::vector<int64_t>{2});
}

TEST(TokenizeCommand, ShowsTokensAsText) {
  const std::string shown = tokenize({"--base", kBases + "llama3", "--text", "a the\n"});
  EXPECT_NE(shown.find("learnt \" the\""), std::string::npos) << shown;
  EXPECT_NE(shown.find("\\n"), std::string::npos) << shown;
}

TEST(TokenizeCommand, WantsExactlyOneInput) {
  EXPECT_THROW(tokenize({"--base", kBases + "qwen2"}), ConfigError);
  EXPECT_THROW(tokenize({"--base", kBases + "qwen2", "--text", "a", "--file", "b"}), ConfigError);
}

}  // namespace
}  // namespace lora_dist
