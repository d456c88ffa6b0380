// Are the words of a key the names of its registry, wherever a user meets them?
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "core/config/words.hpp"
#include "core/optimizers/optimizer.hpp"
#include "core/planning/sharding.hpp"
#include "core/schedules/schedule.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/sources/source_format.hpp"
#include "data/templates/template.hpp"
#include "dist/backends/backend.hpp"

namespace lora_dist {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

using Names = std::vector<std::string_view>;

const std::map<std::string, Names>& registries() {
  static const std::map<std::string, Names> names = {{"task_type", tasks().names()},
                                                     {"adapter", adapters().names()},
                                                     {"data_format", source_formats().names()},
                                                     {"template", prompt_templates().names()},
                                                     {"scheduler", schedules().names()},
                                                     {"optimizer", optimizers().names()},
                                                     {"sharding", shardings().names()},
                                                     {"backend", backends().names()}};
  return names;
}

FieldRule rule_of(const std::string& wanted) {
  FieldRule found;
  Config().each_field([&](const char* key, auto&, const FieldRule& rule, const char*) {
    if (wanted == key) found = rule;
  });
  return found;
}

const KeyFacts& facts_of(const std::string& wanted) {
  static const std::vector<KeyFacts> keys = config_keys();
  return *std::ranges::find(keys, wanted, &KeyFacts::key);
}

TEST(ConfigWords, OfAKeyAreTheNamesOfItsRegistryAndAuto) {
  for (const auto& [key, names] : registries()) {
    std::set<std::string> words(names.begin(), names.end());
    const std::string usual = facts_of(key).default_text;
    if (usual == "auto") words.insert(usual);
    EXPECT_THAT(rule_of(key).one_of, UnorderedElementsAreArray(words)) << key;
  }
}

TEST(ConfigWords, ThatComeLaterAreInNoRegistryYet) {
  for (const auto& [key, names] : registries())
    for (const std::string& word : rule_of(key).later)
      EXPECT_EQ(std::ranges::find(names, word), names.end()) << key << ": " << word;
}

TEST(ConfigWords, OfARegistryAreAllTakenAndAnotherIsRefusedWithThem) {
  for (const auto& [key, names] : registries()) {
    for (const std::string_view name : names) {
      const CheckedConfig checked =
          check_config({{"c.yaml", fmt::format("{}: {}\nval_size: 4", key, name)}}, {});
      EXPECT_TRUE(checked.mistakes.empty()) << key << ": " << name;
    }
    const CheckedConfig wrong = check_config({{"c.yaml", key + ": no-such-word"}}, {});
    ASSERT_EQ(wrong.mistakes.size(), 1) << key;
    for (const std::string_view name : names)
      EXPECT_THAT(wrong.mistakes[0].what(), HasSubstr(std::string(name))) << key;
  }
}

TEST(ConfigWords, StandInSchemaHelpAndManual) {
  const nlohmann::json schema = nlohmann::json::parse(config_schema());
  for (const auto& [key, names] : registries())
    for (const std::string_view name : names) {
      const nlohmann::json& words = schema["properties"][key]["enum"];
      EXPECT_EQ(std::ranges::count(words, name), 1) << key << ": " << name;
      EXPECT_EQ(std::ranges::count(facts_of(key).words, name), 1) << key << ": " << name;
    }
  for (const std::string_view name : optimizers().names()) {
    const std::string meaning = fmt::format("{}: {}", name, optimizers().at(name).help);
    EXPECT_THAT(config_help(), HasSubstr(meaning.substr(0, meaning.find(' '))));
    EXPECT_THAT(facts_of("optimizer").help, HasSubstr(meaning));
    EXPECT_THAT(config_markdown(), HasSubstr(meaning));
  }
}

}  // namespace
}  // namespace lora_dist
