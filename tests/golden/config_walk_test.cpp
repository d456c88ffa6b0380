// Every key of config.json and adapter_config.json has a judgement. The file comes from
// make_config_walk.py, which measured on tiny models what transformers does with each key, and
// lists PEFT's.

#include <filesystem>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/models/decoder/decoder_outline.hpp"
#include "core/models/model_families.hpp"
#include "data/exports/peft_config.hpp"
#include "data/io/files.hpp"

namespace lora_dist {
namespace {

using OrderedJson = nlohmann::ordered_json;

const OrderedJson& walk() {
  static const OrderedJson file = OrderedJson::parse(read_file(
      (std::filesystem::path(LORA_DIST_SOURCE_DIR) / "tests/golden/config_walk.json").string()));
  return file;
}

// What may be refused or read.
template <class Value>
struct Reading {
  std::optional<Value> value;
  std::string error;

  bool operator==(const Reading&) const = default;
};

// The model that a config.json describes. The limit of positions is a fact about the base and not
// about what it computes.
Reading<DecoderSpec> model_of(const OrderedJson& config) {
  try {
    DecoderSpec spec = read_decoder_spec(config, "config.json");
    spec.max_positions = 0;
    return {std::move(spec), ""};
  } catch (const ModelError& error) {
    return {std::nullopt, error.what()};
  }
}

OrderedJson with(OrderedJson config, const std::string& key, const OrderedJson& value) {
  config[key] = value;
  return config;
}

OrderedJson without(OrderedJson config, const std::string& key) {
  config.erase(key);
  return config;
}

class EveryFamily : public testing::TestWithParam<std::string_view> {
 protected:
  const OrderedJson& family() const { return walk()["families"][std::string(GetParam())]; }
  const OrderedJson& tiny() const { return family()["tiny"]; }

  template <class Body>
  void for_each_key(const Body& body) const {
    for (const auto& [key, entry] : family()["keys"].items()) {
      SCOPED_TRACE(std::string(GetParam()) + " " + key);
      body(key, entry);
    }
  }
};

TEST_P(EveryFamily, UsesOrRefusesEachKeyThatHasAnEffectAndIgnoresTheOthersWithAReason) {
  const auto plain = model_of(tiny());
  ASSERT_TRUE(plain.value) << plain.error;
  for_each_key([&](const std::string& key, const OrderedJson& entry) {
    const auto other = model_of(with(tiny(), key, entry["value"]));
    const std::string effect = entry["effect"];
    if (entry.contains("refused")) {
      EXPECT_FALSE(other.value);
    } else if (effect == "refused" && !entry.contains("accepted")) {
      EXPECT_FALSE(other.value);
    } else if (effect == "shapes" || effect == "logits") {
      EXPECT_NE(other, plain);
    } else {
      EXPECT_EQ(other, plain) << other.error;
      EXPECT_TRUE(entry.contains("reason") || entry.contains("accepted"));
    }
    EXPECT_EQ(other.error.find('\n'), std::string::npos) << other.error;
  });
}

TEST_P(EveryFamily, TakesTheDefaultOfTransformersForAnAbsentKey) {
  for_each_key([&](const std::string& key, const OrderedJson& entry) {
    if (!entry.contains("default") || entry.contains("refused")) return;
    EXPECT_EQ(model_of(without(tiny(), key)), model_of(with(tiny(), key, entry["default"])));
  });
}

TEST_P(EveryFamily, TakesNullAsAbsenceWhereTransformersDoesNotMeanMoreByIt) {
  for_each_key([&](const std::string& key, const OrderedJson& entry) {
    const auto absent = model_of(without(tiny(), key)), null = model_of(with(tiny(), key, nullptr));
    const std::string meaning = entry.value("null", "none");
    if (meaning == "attribute" || meaning == "absence fails") {
      EXPECT_TRUE(null.value) << null.error;
    } else if (meaning == "shapes" || meaning == "logits") {
      EXPECT_NE(null, absent);
    } else if (null.value || meaning != "refused") {
      EXPECT_EQ(null, absent) << null.error;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryFamily, testing::ValuesIn(model_families().names()),
                         [](const auto& info) { return std::string(info.param); });

TEST(RopeOfTheReference, HasOurFrequenciesAtEachLength) {
  for (const OrderedJson& entry : walk()["ropes"]) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    if (entry.contains("refused")) {
      EXPECT_FALSE(model_of(entry["config"]).value);
      continue;
    }
    const DecoderSpec spec = read_decoder_spec(entry["config"], "config.json");
    for (const auto& [length, expected] : entry["lengths"].items()) {
      const RopeFrequencies ours =
          rope_frequencies(spec.rope, spec.head_dim(), spec.max_positions, std::stoll(length));
      const std::vector<double> theirs = expected["inverse_frequencies"];
      ASSERT_EQ(ours.inverse_frequencies.size(), theirs.size());
      for (size_t i = 0; i < theirs.size(); ++i)
        EXPECT_NEAR(ours.inverse_frequencies[i], theirs[i], 1e-6 * theirs[i])
            << length << " tokens, frequency " << i;
      EXPECT_NEAR(ours.attention_factor, expected["attention_factor"].get<double>(), 1e-7);
    }
  }
}

Reading<std::string> adapter_of(const OrderedJson& config) {
  try {
    return {peft_config(parse_peft_config(config, "adapter_config.json"), {}).dump(), ""};
  } catch (const ModelError& error) {
    return {std::nullopt, error.what()};
  }
}

TEST(AdapterConfigOfPeft, HasEachKeyUsedRefusedOrWithoutEffect) {
  const OrderedJson plain_config = {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}};
  const auto plain = adapter_of(plain_config);
  ASSERT_TRUE(plain.value) << plain.error;
  for (const auto& [key, entry] : walk()["adapter"].items()) {
    SCOPED_TRACE(key);
    const auto other = adapter_of(with(plain_config, key, entry["value"]));
    const std::string judgement = entry["judgement"];
    if (judgement == "refused") {
      EXPECT_FALSE(other.value);
    } else if (judgement == "used") {
      EXPECT_NE(other, plain);
      EXPECT_TRUE(other.value) << other.error;
    } else {
      EXPECT_EQ(other, plain) << other.error;
    }
    const bool is_required = plain_config.contains(key);
    EXPECT_EQ(adapter_of(with(plain_config, key, nullptr)) == plain, !is_required) << "null";
  }
}

}  // namespace
}  // namespace lora_dist
