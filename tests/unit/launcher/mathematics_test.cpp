#include "launcher/run/mathematics.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace lora_dist {
namespace {

void change(std::string& value) { value += "x"; }
void change(bool& value) { value = !value; }
void change(int64_t& value) { ++value; }
void change(double& value) { value += 0.25; }
void change(ModulePattern& value) { value.suffixes.push_back("x_proj"); }
void change(PatternMap& value) { value.emplace_back("x_proj", 4); }
void change(NamedPaths& value) { value.sets.emplace_back("old", "old.jsonl"); }
template <class T>
void change(std::optional<T>& value) {
  if (!value) value.emplace();
  change(*value);
}
template <class T>
void change(std::vector<T>& value) {
  value.emplace_back();
}

/// The config with one key changed.
Config with_change_of(const std::string& wanted) {
  Config config;
  config.each_field([&](const char* key, auto& value, const FieldRule&, const char*) {
    if (wanted == key) change(value);
  });
  return config;
}

std::vector<std::string> all_keys() {
  std::vector<std::string> keys;
  Config().each_field(
      [&](const char* key, auto&, const FieldRule&, const char*) { keys.emplace_back(key); });
  return keys;
}

TEST(Mathematics, AKeyThatNobodyDeclaredCountsAsMathematics) {
  EXPECT_EQ(effect_of("no_such_key"), KeyEffect::mathematics);
  EXPECT_TRUE(state_fits_after_change_of("no_such_key"));
}

TEST(Mathematics, AKeyIsWhatItsMarkSays) {
  EXPECT_EQ(effect_of("learning_rate"), KeyEffect::mathematics);
  EXPECT_EQ(effect_of("data_format"), KeyEffect::data);
  EXPECT_EQ(effect_of("base_model"), KeyEffect::base);
  EXPECT_EQ(effect_of("save_steps"), KeyEffect::steering);
  EXPECT_EQ(effect_of("backend"), KeyEffect::free);
  EXPECT_FALSE(state_fits_after_change_of("optimizer"));
  EXPECT_TRUE(state_fits_after_change_of("learning_rate"));
}

TEST(Mathematics, AChangedKeyIsSeenWhereItDecidesWhatIsLearnt) {
  const nlohmann::ordered_json usual = mathematics_of(Config{}, 1);
  for (const std::string& key : all_keys()) {
    if (key == "gradient_accumulation_steps" || key == "global_batch_size") continue;
    const bool counts = effect_of(key) == KeyEffect::mathematics;
    const bool differs = !changed_keys(usual, mathematics_of(with_change_of(key), 1)).empty();
    EXPECT_EQ(differs, counts) << key;
  }
}

TEST(Mathematics, TheGlobalBatchCountsAndNotHowItCameAbout) {
  Config one, two;
  two.steps.gradient_accumulation_steps = 2;
  EXPECT_TRUE(changed_keys(mathematics_of(one, 2), mathematics_of(two, 2)).empty());
  const auto changed = changed_keys(mathematics_of(one, 1), mathematics_of(two, 2));
  ASSERT_EQ(changed.size(), 1);
  EXPECT_EQ(changed[0].key, "global_batch_size");
  EXPECT_EQ(changed[0].saved, "4");
  EXPECT_EQ(changed[0].asked, "8");
}

TEST(Mathematics, EvaluationsCountWhereTheySteer) {
  Config plain, often;
  often.state.eval_steps = 7;
  EXPECT_TRUE(changed_keys(mathematics_of(plain, 1), mathematics_of(often, 1)).empty());
  plain.state.load_best_model_at_end = often.state.load_best_model_at_end = true;
  EXPECT_FALSE(changed_keys(mathematics_of(plain, 1), mathematics_of(often, 1)).empty());
}

TEST(Mathematics, OfSeveralValidationSetsTheFirstOneSteers) {
  Config one;
  one.state.early_stopping_patience = 3;
  one.data.val_data_path.sets = {{"new", "new.jsonl"}};
  Config two = one, other = one;
  two.data.val_data_path.sets.emplace_back("old", "old.jsonl");
  other.data.val_data_path.sets = {{"old", "old.jsonl"}, {"new", "new.jsonl"}};
  EXPECT_TRUE(changed_keys(mathematics_of(one, 1), mathematics_of(two, 1)).empty());
  const auto changed = changed_keys(mathematics_of(one, 1), mathematics_of(other, 1));
  ASSERT_EQ(changed.size(), 1);
  EXPECT_EQ(changed[0].key, "val_data_path");
  EXPECT_NE(why_it_counts("val_data_path"), "");
}

TEST(Mathematics, TheNumberOfStepsCountsWhereTheLearningRateDependsOnIt) {
  for (const char* scheduler : {"cosine", "linear", "warmup_stable_decay", "reduce_lr_on_plateau",
                                "constant", "constant_with_warmup"}) {
    Config shorter;
    shorter.steps.scheduler = scheduler;
    shorter.steps.max_steps = 8;
    Config longer = shorter;
    longer.steps.max_steps = 16;
    const bool is_constant = std::string(scheduler).starts_with("constant");
    EXPECT_EQ(changed_keys(mathematics_of(shorter, 1), mathematics_of(longer, 1)).empty(),
              is_constant)
        << scheduler;
  }
}

}  // namespace
}  // namespace lora_dist
