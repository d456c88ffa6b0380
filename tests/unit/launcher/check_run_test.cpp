// `validate` finds everything that needs no weights, and writes nothing.
#include "launcher/run/check_run.hpp"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kBase = LORA_DIST_SOURCE_DIR "/examples/base-tiny";
const std::string kData = LORA_DIST_SOURCE_DIR "/examples/quickstart/train.jsonl";

Config config_for(const TempFolder& folder, const std::string& more = "") {
  return parse_config(fmt::format("base_model: {}\ntrain_data_dir: {}\noutput_dir: {}\n{}", kBase,
                                  kData, folder.file("out"), more),
                      "c.yaml", {});
}

std::vector<std::string> texts_of(const std::vector<Finding>& findings) {
  std::vector<std::string> texts;
  for (const Finding& finding : findings) texts.push_back(finding.text);
  return texts;
}

TEST(CheckRun, FindsNothingInAGoodConfigAndWritesNothing) {
  const TempFolder folder;
  EXPECT_THAT(texts_of(check_run(config_for(folder))), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder.file("out")));
}

TEST(CheckRun, FindsEveryMissingPathAtOnce) {
  const TempFolder folder;
  const std::vector<Finding> findings = check_run(
      parse_config("base_model: ./no-base\ntrain_data_dir: ./no-data\nval_data_path: ./no-val\n"
                   "init_lora_from: ./no-adapter\noutput_dir: " +
                       folder.file("out"),
                   "c.yaml", {}));
  EXPECT_THAT(texts_of(findings),
              ElementsAre(HasSubstr("no-base"),
                          HasSubstr("c.yaml:2: train_data_dir ./no-data does not exist"),
                          HasSubstr("c.yaml:3: val_data_path ./no-val does not exist"),
                          HasSubstr("c.yaml:4: init_lora_from ./no-adapter does not exist")));
  EXPECT_EQ(findings[0].exit_code, 4);
  EXPECT_EQ(findings[1].exit_code, 2);
}

TEST(CheckRun, FindsTargetsAndPatternsThatMatchNothing) {
  const TempFolder folder;
  EXPECT_THAT(texts_of(check_run(config_for(folder, "target_modules: [q_prj]"))),
              ElementsAre(HasSubstr("did you mean 'q_proj'?")));
  EXPECT_THAT(texts_of(check_run(config_for(folder, "rank_pattern: {k_proj: 4}"))),
              ElementsAre(HasSubstr("rank_pattern: 'k_proj' matches no layer with an adapter")));
}

TEST(CheckRun, FindsAMissingTokenizer) {
  const TempFolder folder;
  std::filesystem::copy(kBase, folder.file("base"));
  std::filesystem::remove(folder.file("base/tokenizer.json"));
  Config config = config_for(folder);
  config.model.base_model = folder.file("base");
  EXPECT_THAT(texts_of(check_run(config)), ElementsAre(HasSubstr("tokenizer")));
}

TEST(CheckRun, FindsAnUnknownFamilyOfTheBase) {
  const TempFolder folder;
  folder.write("base/config.json", R"({"model_type": "mamba"})");
  Config config = config_for(folder);
  config.model.base_model = folder.file("base");
  EXPECT_THAT(texts_of(check_run(config)), ElementsAre(HasSubstr("mamba")));
}

TEST(CheckRun, FindsAnEmptyFolderAndAFileInPlaceOfTheRunFolder) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.file("empty"));
  folder.write("out", "a file");
  Config config = config_for(folder);
  config.data.train_data_dir = folder.file("empty");
  const std::vector<std::string> texts = texts_of(check_run(config));
  EXPECT_THAT(texts, testing::Contains(HasSubstr("no .jsonl")));
  EXPECT_THAT(texts, testing::Contains(HasSubstr("out is a file, expected a folder")));
}

TEST(ReportOnData, CountsRecordsAndTokensAndNamesBrokenOnes) {
  const TempFolder folder;
  folder.write("data/a.jsonl",
               "{\"instruction\": \"Say hello\", \"output\": \"hello\"}\n{\"instruction\": \n"
               "{\"instruction\": \"Say bye\", \"output\": \"bye\"}\n");
  Config config = config_for(folder);
  config.data.train_data_dir = folder.file("data");
  std::vector<Finding> findings;
  EXPECT_THAT(report_on_data(config, findings),
              HasSubstr("a.jsonl: alpaca, 2 records, 1 broken\n"));
  EXPECT_THAT(texts_of(findings), ElementsAre(HasSubstr("a.jsonl:2")));

  findings.clear();
  config.state.data_errors = "skip";
  EXPECT_THAT(report_on_data(config, findings), HasSubstr("# 2 samples, 1 skipped, "));
  EXPECT_THAT(texts_of(findings), IsEmpty());
}

}  // namespace
}  // namespace lora_dist
