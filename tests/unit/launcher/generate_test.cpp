// lora-dist generate, without a process: options in, standard output out.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "tests/support/command_output.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kBase = LORA_DIST_SOURCE_DIR "/examples/base-tiny";

std::string generate(std::vector<std::string> arguments, const std::string& base = kBase) {
  arguments.insert(arguments.begin(), {"--base", base, "--device", "cpu"});
  return output_of_command("generate", std::move(arguments));
}

std::string error_of(std::vector<std::string> arguments) {
  try {
    generate(std::move(arguments));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(GenerateCommand, RefusesWhatCannotBeSampled) {
  const auto refused = [](const char* option, const char* value) {
    return error_of({"--prompt", "Hi", option, value});
  };
  EXPECT_EQ(refused("--temperature", "-1"), "--temperature: -1, expected 0 (greedy) or more");
  EXPECT_THAT(refused("--temperature", "nan"), StartsWith("--temperature: nan"));
  EXPECT_THAT(refused("--temperature", "inf"), StartsWith("--temperature: inf"));
  EXPECT_THAT(refused("--top-p", "0"), StartsWith("--top-p: 0, expected"));
  EXPECT_THAT(refused("--top-p", "1.5"), StartsWith("--top-p: 1.5, expected"));
  EXPECT_THAT(refused("--top-k", "-1"), StartsWith("--top-k: -1, expected"));
  EXPECT_THAT(refused("--max-new-tokens", "0"), StartsWith("--max-new-tokens: 0, expected"));
  EXPECT_THAT(error_of({}), HasSubstr("no prompt"));
  EXPECT_THAT(error_of({"--raw", "--messages", "m.json"}), StartsWith("--raw: with --messages"));
}

TEST(GenerateCommand, APromptLongerThanThePositionsIsRefused) {
  std::string words;
  for (int i = 0; i < 20000; ++i) words += " word";
  EXPECT_THAT(error_of({"--prompt", words}), HasSubstr("positions of the base model"));
}

TEST(GenerateCommand, ShowsWhileItWritesTheTextThatJsonHolds) {
  const std::vector<std::string> request = {"--prompt", "Where is Rome?", "--max-new-tokens", "12"};
  auto as_json = request;
  as_json.emplace_back("--json");
  const auto answer = nlohmann::json::parse(generate(as_json));
  EXPECT_EQ(generate(request), answer["text"].get<std::string>() + "\n");
  EXPECT_EQ(answer.size(), 4u);
}

TEST(GenerateCommand, DrawsTheSameTokensForTheSameSeedWithTopK) {
  const std::vector<std::string> request = {
      "--prompt", "Hi", "--max-new-tokens", "8", "--temperature", "1.5", "--top-k", "5", "--json"};
  EXPECT_EQ(generate(request), generate(request));
  auto greedy = request;
  greedy[7] = "1";
  EXPECT_EQ(nlohmann::json::parse(generate(greedy))["ids"],
            nlohmann::json::parse(
                generate({"--prompt", "Hi", "--max-new-tokens", "8", "--json"}))["ids"]);
}

TEST(GenerateCommand, ABaseWithoutChatTemplateGoesOnWithTheBarePrompt) {
  const TempFolder folder;
  for (const auto& entry : fs::directory_iterator(kBase))
    if (entry.path().filename() != "tokenizer_config.json")
      fs::create_symlink(entry.path(), folder.file(entry.path().filename().string()));
  auto config = nlohmann::json::parse(read_file(kBase + "/tokenizer_config.json"));
  config.erase("chat_template");
  folder.write("tokenizer_config.json", config.dump());
  const auto tokens_of = [&](std::vector<std::string> arguments, const std::string& base) {
    arguments.insert(arguments.end(), {"--max-new-tokens", "1", "--json"});
    return nlohmann::json::parse(generate(std::move(arguments), base))["prompt_tokens"].get<int>();
  };
  const int raw = tokens_of({"--prompt", "Hi", "--raw"}, kBase);
  EXPECT_EQ(tokens_of({"--prompt", "Hi"}, folder.path()), raw);
  EXPECT_GT(tokens_of({"--prompt", "Hi", "--template", "alpaca"}, folder.path()), raw);
  EXPECT_GT(tokens_of({"--prompt", "Hi"}, kBase), raw);
  EXPECT_EQ(tokens_of({"--prompt", ""}, folder.path()), 1);  // BOS
}

}  // namespace
}  // namespace lora_dist
