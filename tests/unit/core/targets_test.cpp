// PEFT's rules of matching target modules.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "core/adapters/lora.hpp"
#include "core/base/error.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kLinears = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
    "model.layers.0.mlp.up_proj",      "model.layers.1.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj", "model.layers.1.mlp.up_proj"};

std::vector<std::string> match(ModulePattern targets, ModulePattern excluded = {}) {
  return match_targets(kLinears, targets, excluded, "llama");
}

TEST(MatchTargets, TakesNamesBySuffixOfWholeParts) {
  EXPECT_THAT(match({{"up_proj"}, {}, false}), ElementsAre(kLinears[2], kLinears[5]));
  EXPECT_THAT(match({{"layers.1.self_attn.q_proj"}, {}, false}), ElementsAre(kLinears[3]));
}

TEST(MatchTargets, TakesARegularExpressionForTheWholeName) {
  EXPECT_THAT(match({{}, R"(.*\.1\..*_proj)", false}),
              ElementsAre(kLinears[3], kLinears[4], kLinears[5]));
  EXPECT_THROW(match({{}, "q_proj", false}), ConfigError);
}

TEST(MatchTargets, TakesEveryLayerButTheExcluded) {
  EXPECT_EQ(match({{}, {}, true}).size(), 6u);
  EXPECT_THAT(match({{}, {}, true}, {{"self_attn.q_proj", "up_proj"}, {}, false}),
              ElementsAre(kLinears[1], kLinears[4]));
}

TEST(MatchTargets, NamesTheNearestLayerOfATypo) {
  try {
    match({{"v_proj", "q_porj"}, {}, false});
    FAIL() << "a typo must not pass";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'q_porj' matches no layer of 'llama', expected q_proj, "
                                        "v_proj, up_proj; did you mean 'q_proj'?"));
  }
}

TEST(MatchTargets, RefusesToExcludeEverything) {
  EXPECT_THROW(match({{"q_proj"}, {}, false}, {{"q_proj"}, {}, false}), ConfigError);
}

TEST(PatternValue, TakesTheFirstPatternThatFits) {
  const PatternMap patterns = {{R"(layers\.1\.self_attn\.q_proj)", 3}, {"q_proj", 5}};
  EXPECT_EQ(pattern_value(patterns, kLinears[0], 8), 5);
  EXPECT_EQ(pattern_value(patterns, kLinears[3], 8), 3);
  EXPECT_EQ(pattern_value(patterns, kLinears[1], 8), 8);
}

}  // namespace
}  // namespace lora_dist
