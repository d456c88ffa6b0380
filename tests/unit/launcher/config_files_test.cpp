// Every file under configs/ is read, and the brief's own ones say what the brief says.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "launcher/config_file.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

const std::string kFolder = LORA_DIST_SOURCE_DIR "/configs/";

std::vector<std::string> config_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem());
  return names;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

class EveryConfigFile : public testing::TestWithParam<std::string> {};

TEST_P(EveryConfigFile, IsReadOrNamesTheFeatureThatIsMissing) {
  try {
    read_config(kFolder + GetParam() + ".yaml", {});
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("not available yet"), std::string::npos)
        << error.what();
  }
}

TEST_P(EveryConfigFile, OpensWithAComment) {
  EXPECT_TRUE(first_line(kFolder + GetParam() + ".yaml").starts_with("#"));
}

INSTANTIATE_TEST_SUITE_P(Configs, EveryConfigFile, testing::ValuesIn(config_names()),
                         [](const auto& info) { return info.param; });

TEST(ConfigFiles, ResumeAdvisorIsTheBriefs) {
  const Config config = read_config(kFolder + "resume_lora.yaml", {});
  require_training_keys(config);
  EXPECT_EQ(config.data.train_data_dir, "./data/llm_train");
  EXPECT_EQ(config.data.metadata_path, "./data/llm_train/resume_pairs.jsonl");
  EXPECT_EQ(config.model.base_model, "./models/llama-2-7b-chat-hf");
  EXPECT_EQ(config.model.task_type, "text-generation");
  EXPECT_EQ(config.adapter.lora_rank, 8);
  EXPECT_EQ(config.adapter.lora_alpha, 16);
  EXPECT_EQ(config.steps.batch_size, 4);
  EXPECT_EQ(config.steps.epochs, 8);
  EXPECT_EQ(config.steps.learning_rate, 1e-4);
  EXPECT_EQ(config.state.output_dir, "./output/resume_advisor");
  EXPECT_EQ(config.state.save_steps, 50);
}

TEST(ConfigFiles, LawQuestionsIsTheBriefs) {
  const Config config = read_config(kFolder + "law_qa.yaml", {});
  require_training_keys(config);
  EXPECT_EQ(config.data.train_data_dir, "./data/law_train");
  EXPECT_EQ(config.data.metadata_path, "");
  EXPECT_EQ(config.adapter.lora_rank, 16);
  EXPECT_EQ(config.adapter.lora_alpha, 32);
  EXPECT_EQ(config.adapter.lora_dropout, 0.1);
  EXPECT_EQ(config.steps.epochs, 15);
  EXPECT_EQ(config.steps.learning_rate, 1.5e-4);
  EXPECT_EQ(config.data.max_seq_length, 512);
  EXPECT_TRUE(config.model.fp16);
  EXPECT_EQ(config.distribution.device, "cuda");
  EXPECT_EQ(config.state.output_dir, "./output/law_lora");
  EXPECT_EQ(config.state.log_dir, "./output/law_lora/logs");
}

void expect_defaults(const Config& config) {
  Config expected;
  expected.model.base_model = config.model.base_model;
  expected.data.train_data_dir = config.data.train_data_dir;
  expected.state.output_dir = config.state.output_dir;
  expected.adapter.lora_alpha = 16;
  expected.state.output_name = config.state.output_name;
  expected.state.log_dir = config.state.log_dir;
  expected.data.prepared_dir = config.data.prepared_dir;
  EXPECT_EQ(resolved_yaml(config), resolved_yaml(expected));
  EXPECT_TRUE(config.warnings.empty());
}

/// The template with the keys that are commented out.
std::string template_with_every_key() {
  std::ifstream file(kFolder + "template_llm.yaml");
  std::string text, line;
  while (std::getline(file, line)) {
    const std::string name = line.substr(0, line.find(':'));
    const bool is_key = name.starts_with("# ") && key_named(name.substr(2)) == name.substr(2);
    text += (is_key ? line.substr(2) : line) + "\n";
  }
  return text;
}

TEST(ConfigFiles, TemplateGivesEveryKeyItsDefaultButTheThreeThatMustBeChosen) {
  const Config config = read_config(kFolder + "template_llm.yaml", {});
  expect_defaults(config);
  require_training_keys(config);
  expect_defaults(parse_config(template_with_every_key(), "template_llm.yaml", {}));
}

TEST(ConfigFiles, TemplateNamesEveryKey) {
  const std::string text = "\n" + template_with_every_key();
  for (const KeyFacts& key : config_keys())
    EXPECT_NE(text.find("\n" + key.key + ":"), std::string::npos) << key.key;
}

TEST(ConfigFiles, OverlaysCompleteATemplate) {
  const Config config =
      read_config({kFolder + "template_llm.yaml", kFolder + "finance_qa.yaml"}, {});
  require_training_keys(config);
  EXPECT_EQ(config.adapter.lora_rank, 64);
  EXPECT_EQ(config.data.max_seq_length, 512);
  EXPECT_EQ(config.model.base_model, "./models/llama-2-7b-chat.ggmlv3.q4_0.bin");
  EXPECT_EQ(config.data.train_data_dir, "./data/finance_qa");
  EXPECT_THROW(require_training_keys(read_config(kFolder + "finance_qa.yaml", {})), ConfigError);
}

TEST(ConfigFiles, CharacterPicturesAreTheBriefs) {
  const Config config = read_config(kFolder + "ip_char_lora.yaml", {});
  EXPECT_EQ(config.model.base_model, "./models/Stable-diffusion/v1-5-pruned.safetensors");
  EXPECT_EQ(config.steps.optimizer, "adamw");
  EXPECT_EQ(config.state.log_dir, "./output/ip_char_lora/logs");
  EXPECT_EQ(config.state.output_name, "ip_char_lora");
}

TEST(ConfigOptions, KnowTheStartsLimitBeforeTheRanksHaveMet) {
  const TempFolder folder;
  const auto limit = [](const ConfigOptions& options) {
    return options.known_limits().startup_timeout_s;
  };
  const std::string here = folder.write("here.yaml", "startup_timeout_s: 7\nlora_rnak: 3\n");
  const std::string elsewhere = folder.file("elsewhere.yaml");
  EXPECT_EQ(limit({.paths = {here}, .overrides = {}}), 7);
  EXPECT_EQ(limit({.paths = {here}, .overrides = {"startup_timeout_s=9"}}), 9);
  EXPECT_EQ(limit({.paths = {elsewhere}, .overrides = {"startup_timeout_s=9"}}), 9);
  EXPECT_EQ(limit({.paths = {elsewhere}, .overrides = {}}), DistributionConfig().startup_timeout_s);
}

}  // namespace
}  // namespace lora_dist
