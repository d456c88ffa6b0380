// What config.json may say, and what a broken one gets.

#include "core/models/model_families.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

nlohmann::ordered_json small_config(const std::string& model_type) {
  return {{"model_type", model_type}, {"hidden_size", 32},        {"intermediate_size", 64},
          {"num_hidden_layers", 4},   {"num_attention_heads", 4}, {"vocab_size", 100}};
}

std::string error_of(const nlohmann::ordered_json& config) {
  try {
    read_decoder_spec(config, "base/config.json");
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

TEST(ModelFamilies, GiveAWindowToTheLayersThatAreNamed) {
  nlohmann::ordered_json config = small_config("gemma2");
  config["sliding_window"] = 7;
  EXPECT_THAT(read_decoder_spec(config, "").windows, ElementsAre(7, 0, 7, 0));
  config["layer_types"] = {"full_attention", "full_attention", "sliding_attention",
                           "full_attention"};
  EXPECT_THAT(read_decoder_spec(config, "").windows, ElementsAre(0, 0, 7, 0));
}

TEST(ModelFamilies, GiveQwenAWindowOnlyWhereItIsSwitchedOn) {
  nlohmann::ordered_json config = small_config("qwen2");
  config["sliding_window"] = 7;
  config["max_window_layers"] = 2;
  EXPECT_THAT(read_decoder_spec(config, "").windows, ElementsAre(0, 0, 0, 0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(read_decoder_spec(config, "").windows, ElementsAre(0, 0, 7, 7));
}

TEST(ModelFamilies, RefuseAListOfLayersOfAnotherLength) {
  nlohmann::ordered_json config = small_config("mistral");
  config["sliding_window"] = 7;
  config["layer_types"] = {"sliding_attention"};
  EXPECT_THAT(
      error_of(config),
      HasSubstr("base/config.json: layer_types names 1 layers, expected num_hidden_layers, 4"));
}

TEST(ModelFamilies, NameTheFileWhenAValueHasAnotherType) {
  nlohmann::ordered_json config = small_config("llama");
  config["rms_norm_eps"] = "small";
  EXPECT_THAT(error_of(config), HasSubstr("base/config.json: a value of another type"));
  config["model_type"] = 3;
  EXPECT_THAT(error_of(config), HasSubstr("base/config.json: no model_type"));
}

TEST(ModelFamilies, ListTheKnownOnesForAnUnknownOne) {
  EXPECT_THAT(error_of(small_config("gpt2")),
              HasSubstr("model_type 'gpt2', expected one of llama, mistral"));
}

}  // namespace
}  // namespace lora_dist
