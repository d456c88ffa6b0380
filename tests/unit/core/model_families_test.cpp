// What config.json may say, and what a broken one gets.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/models/decoder/decoder_outline.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

nlohmann::ordered_json small_config(const std::string& model_type) {
  return {{"model_type", model_type}, {"hidden_size", 32},        {"intermediate_size", 64},
          {"num_hidden_layers", 4},   {"num_attention_heads", 4}, {"num_key_value_heads", 4},
          {"vocab_size", 100}};
}

std::string error_of(const nlohmann::ordered_json& config) {
  try {
    read_decoder_spec(config, "base/config.json");
  } catch (const ModelError& error) {
    return error.what();
  }
  return "";
}

std::vector<int64_t> windows_of(const nlohmann::ordered_json& config) {
  std::vector<int64_t> windows;
  for (const BlockSpec& block : read_decoder_spec(config, "").blocks)
    windows.push_back(block.attention.window);
  return windows;
}

TEST(ModelFamilies, GiveAWindowToTheLayersThatAreNamed) {
  nlohmann::ordered_json config = small_config("gemma2");
  config["sliding_window"] = 7;
  EXPECT_THAT(windows_of(config), ElementsAre(7, 0, 7, 0));
  config["layer_types"] = {"full_attention", "full_attention", "sliding_attention",
                           "full_attention"};
  EXPECT_THAT(windows_of(config), ElementsAre(0, 0, 7, 0));
}

TEST(ModelFamilies, GiveQwenAWindowOnlyWhereItIsSwitchedOn) {
  nlohmann::ordered_json config = small_config("qwen2");
  config["sliding_window"] = 7;
  config["max_window_layers"] = 2;
  EXPECT_THAT(windows_of(config), ElementsAre(0, 0, 0, 0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(windows_of(config), ElementsAre(0, 0, 7, 7));
}

TEST(ModelFamilies, RefuseAListOfLayersOfAnotherLength) {
  nlohmann::ordered_json config = small_config("gemma2");
  config["sliding_window"] = 7;
  config["layer_types"] = {"sliding_attention"};
  EXPECT_THAT(
      error_of(config),
      HasSubstr("base/config.json: layer_types names 1 layers, expected num_hidden_layers, 4"));
}

TEST(ModelFamilies, NameTheFileWhenAValueHasAnotherType) {
  nlohmann::ordered_json config = small_config("llama");
  config["rms_norm_eps"] = "small";
  EXPECT_EQ(error_of(config),
            "base/config.json: rms_norm_eps is \"small\", expected a number; use the config.json "
            "that came with the model");
  config["model_type"] = 3;
  EXPECT_THAT(error_of(config), HasSubstr("base/config.json: no model_type"));
}

TEST(ModelFamilies, RefuseNonsenseInOneLineThatNamesTheKey) {
  const auto rope = [](nlohmann::ordered_json value) { return value; };
  const std::vector<std::pair<std::string, nlohmann::ordered_json>> nonsense = {
      {"num_hidden_layers", int64_t{1} << 62},
      {"num_hidden_layers", 20'000},
      {"num_hidden_layers", 0},
      {"hidden_size", -32},
      {"hidden_size", 32.5},
      {"hidden_size", 30},
      {"vocab_size", "100"},
      {"vocab_size", true},
      {"num_attention_heads", 0},
      {"num_key_value_heads", 3},
      {"head_dim", 7},
      {"rms_norm_eps", -1},
      {"rms_norm_eps", 0},
      {"rope_theta", -1},
      {"partial_rotary_factor", 0},
      {"partial_rotary_factor", 1.5},
      {"hidden_act", "snake"},
      {"hidden_act", 3},
      {"tie_word_embeddings", "yes"},
      {"attention_bias", 1},
      {"max_position_embeddings", 0},
      {"rope_scaling", "linear"},
      {"rope_scaling", rope({{"rope_type", "linear"}, {"factor", 0}})},
      {"rope_scaling", rope({{"rope_type", "linear"}, {"factor", "4"}})},
      {"rope_scaling", rope({{"rope_type", "linear"}, {"factor", 4}, {"rope_theta", -1}})},
      {"rope_scaling", rope({{"rope_type", "dynamic"}, {"factor", -2}})},
      {"rope_scaling", rope({{"rope_type", 3}})},
      {"rope_scaling", rope({{"rope_type", "yarn"}, {"factor", 4}, {"beta_fast", -1}})},
      {"layer_types", {"sliding_attention", "full_attention", "full_attention", "full_attention"}},
      {"layer_types", {"chunked_attention", "full_attention", "full_attention", "full_attention"}},
      {"architectures", {"LlamaForSequenceClassification"}},
      {"architectures", {"LlamaMoEForCausalLM"}},
  };
  for (const auto& [key, value] : nonsense) {
    nlohmann::ordered_json config = small_config("llama");
    config[key] = value;
    const std::string error = error_of(config);
    EXPECT_THAT(error, HasSubstr("base/config.json: ")) << key << " " << value;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(ModelFamilies, TellHowFarARotationReaches) {
  nlohmann::ordered_json config = small_config("llama");
  config["max_position_embeddings"] = 512;
  const auto reach = [&](const nlohmann::ordered_json& rope) {
    config["rope_scaling"] = rope;
    const DecoderSpec spec = read_decoder_spec(config, "");
    return most_positions(spec.rope, spec.max_positions);
  };
  EXPECT_EQ(reach(nullptr), 512);
  EXPECT_EQ(reach({{"rope_type", "linear"}, {"factor", 4}}), 2048);
  EXPECT_EQ(reach({{"rope_type", "dynamic"}, {"factor", 2}}), 1024);
  EXPECT_EQ(reach({{"rope_type", "yarn"}, {"factor", 4}}), 2048);
  EXPECT_EQ(
      reach({{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 128}}),
      512);
}

TEST(ModelFamilies, ListTheKnownOnesForAnUnknownOne) {
  EXPECT_THAT(error_of(small_config("gpt2")),
              HasSubstr("model_type 'gpt2', expected one of llama, mistral"));
}

}  // namespace
}  // namespace lora_dist
