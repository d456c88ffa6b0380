// lora-dist tokenize, without a process: options in, standard output out.
#include <sstream>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/support/command_output.hpp"
#include "tests/support/temp_folder.hpp"

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

TEST(TokenizeCommand, WantsExactlyOneInput) {
  EXPECT_THROW(tokenize({"--base", kBases + "qwen2"}), CLI::ParseError);
  EXPECT_THROW(tokenize({"--base", kBases + "qwen2", "--text", "a", "--file", "b"}),
               CLI::ParseError);
}

}  // namespace
}  // namespace lora_dist
