#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/config.hpp"

namespace lora_dist {
namespace {

using testing::HasSubstr;

const std::string kAwkward = "a b: #'\"\\é 数\t[x]{y}";

void change(std::string& value, const FieldRule& rule) {
  if (rule.one_of.empty()) {
    value = rule.file_name ? "näme-1.x" : rule.auto_or_count ? "3" : kAwkward;
    return;
  }
  const auto is_later = [&](const std::string& word) {
    return std::find(rule.later.begin(), rule.later.end(), word) != rule.later.end();
  };
  for (const std::string& word : rule.one_of)
    if (word != value && !is_later(word)) {
      value = word;
      return;
    }
}
void change(bool& value, const FieldRule&) { value = !value; }
void change(int64_t& value, const FieldRule&) { value += 3; }
void change(double& value, const FieldRule&) { value = 1.0 / 3; }
void change(std::optional<int64_t>& value, const FieldRule&) { value = 8; }
void change(std::optional<double>& value, const FieldRule&) { value = 1.0 / 3; }
void change(ModulePattern& value, const FieldRule&) { value = {{}, ".*\\.(q|v)_\"proj", false}; }
void change(NamedPaths& value, const FieldRule&) { value = {{{"old", kAwkward}, {"new-1", "b"}}}; }
void change(PatternMap& value, const FieldRule&) { value = {{"^z, .*", 16}, {"a", 4}}; }

/// Whether the value of `key` is the same in both, by type and not by its text.
bool same_value(Config a, Config b, const std::string& key) {
  bool same = false;
  a.each_field([&](const char* name_a, auto& value_a, const FieldRule&, const char*) {
    b.each_field([&](const char* name_b, auto& value_b, const FieldRule&, const char*) {
      if constexpr (std::is_same_v<decltype(value_a), decltype(value_b)>)
        if (key == name_a && key == name_b) same = value_a == value_b;
    });
  });
  return same;
}

std::vector<std::string> all_keys() {
  std::vector<std::string> keys;
  Config().each_field(
      [&](const char* key, auto&, const FieldRule&, const char*) { keys.push_back(key); });
  return keys;
}

/// A config in which `key` is not at its default; nothing where only the default is accepted so
/// far.
std::optional<Config> changed_config(const std::string& key) {
  Config config;
  if (key != "val_data_path") config.data.val_size = 0.25;  // some keys need validation data
  bool can_change = true;
  config.each_field([&](const char* name, auto& value, const FieldRule& rule, const char*) {
    if (key != name) return;
    const auto before = value;
    if (rule.not_yet.empty()) change(value, rule);
    can_change = value != before;
  });
  return can_change ? std::optional(config) : std::nullopt;
}

TEST(ResolvedYaml, RoundTripsEveryKeyExactly) {
  int num_changed = 0;
  for (const std::string& key : all_keys()) {
    const std::optional<Config> config = changed_config(key);
    if (!config) continue;
    ++num_changed;
    const Config again = parse_config(resolved_yaml(*config), "resolved", {});
    EXPECT_TRUE(same_value(*config, again, key)) << key << "\n" << resolved_yaml(*config);
  }
  EXPECT_GE(num_changed, 50);
}

TEST(ResolvedYaml, IsAFixedPoint) {
  const Config config = parse_config("output_dir: ./o\nlora_r: 16\nlora_target: all", "c.yaml", {});
  const std::string once = resolved_yaml(config);
  EXPECT_EQ(resolved_yaml(parse_config(once, "resolved", {})), once);
}

TEST(ResolvedYaml, QuotesTextsThatYamlWouldTakeForSomethingElse) {
  for (const char* text : {"yes",  "null", "~",  "1e5",  "007",   ":",    "a: b", "# x", " lead",
                           "true", "True", "新", "a\nb", "\"q\"", "{a}",  "[x",   "-",   "- a",
                           "@",    "%",    "*a", "&a",   "!t",    "a #b", "'",    "\x7f"}) {
    Config config;
    config.model.base_model = text;
    EXPECT_EQ(parse_config(resolved_yaml(config), "resolved", {}).model.base_model, text);
  }
}

TEST(ResolvedYaml, WritesNumbersThatYamlElevenReadersTakeForNumbers) {
  Config config;
  config.steps.learning_rate = 1e-7;
  EXPECT_THAT(resolved_yaml(config), HasSubstr("learning_rate: 1.0e-07\n"));
}

TEST(ConfigSchema, DescribesEveryKeyAndAlias) {
  const nlohmann::json schema = nlohmann::json::parse(config_schema());
  for (const std::string& key : all_keys()) {
    ASSERT_TRUE(schema["properties"].contains(key)) << key;
    EXPECT_TRUE(schema["properties"][key].contains("description")) << key;
  }
  EXPECT_EQ(schema["properties"]["lora_rank"]["minimum"], 1);
  EXPECT_EQ(schema["properties"]["lora_rank"]["maximum"], 1024);
  EXPECT_EQ(schema["properties"]["learning_rate"]["exclusiveMinimum"], 0);
  EXPECT_TRUE(schema["properties"]["per_device_train_batch_size"]["deprecated"]);
  EXPECT_EQ(schema["additionalProperties"], false);
}

TEST(ConfigHelp, HasALineForEveryKey) {
  const std::string help = config_help();
  for (const std::string& key : all_keys()) EXPECT_THAT(help, HasSubstr("\n  " + key + " "));
}

TEST(ConfigKeys, AreEachDeclaredOnce) {
  const std::vector<std::string> keys = all_keys();
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), keys.size());
}

TEST(ConfigurationManual, HoldsTheTablesOfThisBuild) {
  std::ostringstream manual;
  manual << std::ifstream(LORA_DIST_SOURCE_DIR "/docs/configuration.md").rdbuf();
  EXPECT_TRUE(manual.str().ends_with(config_markdown()))
      << "run `lora-dist schema --markdown` and replace what follows the first table's heading";
}

}  // namespace
}  // namespace lora_dist
