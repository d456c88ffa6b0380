#include "data/exports/adapter_files.hpp"

#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/adapters/lora.hpp"
#include "core/base/sha256.hpp"
#include "data/exports/peft.hpp"
#include "data/io/files.hpp"
#include "data/io/json.hpp"
#include "data/weights/safetensors.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

std::string tensor_name(int layer, const char* module, const char* matrix) {
  return fmt::format("model.layers.{}.self_attn.{}.lora_{}", layer, module, matrix);
}

/// q_proj and v_proj of two layers, width 6, values that no two elements share.
NamedTensors some_tensors(int64_t lora_rank) {
  NamedTensors tensors;
  double start = 0.1;
  for (int layer = 0; layer < 2; ++layer)
    for (const char* module : {"q_proj", "v_proj"}) {
      tensors.emplace_back(tensor_name(layer, module, "A"),
                           at::linspace(start, start + 1, lora_rank * 6).reshape({lora_rank, 6}));
      tensors.emplace_back(tensor_name(layer, module, "B"),
                           at::linspace(-start, start, lora_rank * 6).reshape({6, lora_rank}));
      start += 0.37;
    }
  return tensors;
}

AdapterDescription some_description() {
  return {.base_model = "models/base",
          .settings = {.lora_rank = 4,
                       .lora_alpha = 8,
                       .lora_dropout = 0.05,
                       .target_modules = {{"v_proj", "q_proj"}, {}, false}},
          .template_name = "alpaca"};
}

class AdapterFolder : public testing::Test {
 protected:
  void write(const AdapterDescription& description, int64_t lora_rank = 4,
             const std::string& save_dtype = "fp32") {
    peft_dialect().write(folder_.path(), description, some_tensors(lora_rank), save_dtype);
  }
  nlohmann::ordered_json config() { return read_json_file(folder_.file("adapter_config.json")); }
  void change_config(const std::function<void(nlohmann::ordered_json&)>& change) {
    auto changed = config();
    change(changed);
    folder_.write("adapter_config.json", changed.dump());
  }
  /// The line for this folder, called adapter/ as in the museum.
  std::string load_error(const std::string& path = {}) {
    std::string text =
        error_text<ModelError>([&] { load_adapter(path.empty() ? folder_.path() : path); });
    for (size_t at = text.find(folder_.path()); at != std::string::npos;
         at = text.find(folder_.path()))
      text.replace(at, folder_.path().size(), "adapter");
    return text;
  }
  TempFolder folder_;
};

TEST_F(AdapterFolder, HoldsTheKeysThatPeftReads) {
  write(some_description());
  EXPECT_EQ(read_file(folder_.file("adapter_config.json")), R"({
  "alpha_pattern": {},
  "base_model_name_or_path": "models/base",
  "bias": "none",
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layers_pattern": null,
  "layers_to_transform": null,
  "lora_alpha": 8,
  "lora_bias": false,
  "lora_dropout": 0.05,
  "modules_to_save": null,
  "peft_type": "LORA",
  "peft_version": "0.21.0",
  "r": 4,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "q_proj",
    "v_proj"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": false
}
)");
  EXPECT_EQ(
      SafetensorsFile::open(folder_.file("adapter_model.safetensors"))->metadata().at("format"),
      "pt");
}

TEST_F(AdapterFolder, ComesBackBitForBit) {
  write(some_description());
  const LoadedAdapter adapter = load_adapter(folder_.path());
  const NamedTensors expected = some_tensors(4);
  ASSERT_EQ(adapter.tensors.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(adapter.tensors[i].first, expected[i].first);  // the names above are in order
    EXPECT_TRUE(at::equal(adapter.tensors[i].second, expected[i].second));
  }
  EXPECT_EQ(adapter.description.base_model, "models/base");
  EXPECT_EQ(adapter.description.settings.lora_rank, 4);
  EXPECT_EQ(adapter.description.settings.lora_alpha, 8);
  EXPECT_EQ(adapter.description.settings.lora_dropout, 0.05);
  EXPECT_EQ(adapter.description.settings.target_modules.suffixes,
            (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(adapter.description.template_name, "alpaca");
}

TEST_F(AdapterFolder, HalfPrecisionIsRoundedOnDiskAndReadAsFp32) {
  for (const auto& [save_dtype, dtype] :
       {std::pair{"bf16", at::kBFloat16}, std::pair{"fp16", at::kHalf}}) {
    write(some_description(), 4, save_dtype);
    EXPECT_EQ(SafetensorsFile::open(folder_.file("adapter_model.safetensors"))
                  ->weights()[0]
                  .format->plain,
              dtype);
    const auto [name, read] = load_adapter(folder_.path()).tensors[0];
    EXPECT_EQ(read.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(read, some_tensors(4)[0].second.to(dtype).to(at::kFloat)));
  }
}

TEST_F(AdapterFolder, AValueTooLargeForFp16IsAnErrorAndNotInfinity) {
  NamedTensors tensors = some_tensors(4);
  tensors[0].second[0][0] = 70000.0;
  const std::string text = error_text<ModelError>(
      [&] { peft_dialect().write(folder_.path(), some_description(), tensors, "fp16"); });
  EXPECT_NE(
      text.find(
          "holds 70000, too large for the type of save_dtype; set save_dtype to bf16 or fp32"),
      std::string::npos)
      << text;
}

TEST_F(AdapterFolder, TargetModulesAreAListARegexOrWhatAllLinearMeant) {
  AdapterDescription description = some_description();
  description.settings.target_modules = {{}, ".*\\.(q|v)_proj", false};
  write(description);
  EXPECT_EQ(config()["target_modules"], ".*\\.(q|v)_proj");
  EXPECT_EQ(load_adapter(folder_.path()).description.settings.target_modules.regex,
            ".*\\.(q|v)_proj");
  description.settings.target_modules = {{}, {}, true};
  write(description);
  EXPECT_EQ(config()["target_modules"], (std::vector<std::string>{"q_proj", "v_proj"}));
}

TEST_F(AdapterFolder, PatternsKeepTheirOrder) {
  AdapterDescription description = some_description();
  description.settings.rank_pattern = {{"v_proj", 4}, {"layers\\.0\\..*", 4}, {"a", 2}};
  description.settings.alpha_pattern = {{"q_proj", 12.5}};
  write(description);
  EXPECT_EQ(config()["rank_pattern"].dump(), R"({"v_proj":4,"layers\\.0\\..*":4,"a":2})");
  EXPECT_EQ(load_adapter(folder_.path()).description.settings.rank_pattern,
            description.settings.rank_pattern);
  EXPECT_EQ(config()["alpha_pattern"].dump(), R"({"q_proj":12.5})");
}

TEST_F(AdapterFolder, IsRefusedWhereItsConfigDoesNotChooseItsTensors) {
  write(some_description());
  change_config([](auto& config) { config["layers_to_transform"] = 0; });
  EXPECT_THAT(load_error(), testing::HasSubstr("layers_to_transform does not choose"));
  change_config([](auto& config) {
    config["layers_to_transform"] = nullptr;
    config["target_modules"] = {"q_proj"};
  });
  EXPECT_THAT(load_error(), testing::HasSubstr("does not choose"));
  change_config([](auto& config) {
    config["target_modules"] = {"q_proj", "v_proj"};
    config["exclude_modules"] = {"v_proj"};
  });
  EXPECT_THAT(load_error(), testing::HasSubstr("exclude_modules does not choose"));
}

TEST(AdapterDescription, PatternsFollowTheRuleOfPeft) {
  AdapterDescription description = {.settings = {.lora_rank = 8, .lora_alpha = 16}};
  description.settings.rank_pattern = {{"layers\\.0\\.self_attn\\.q_proj", 2}, {"q_proj", 4}};
  description.settings.alpha_pattern = {{"v_proj", 5}};
  EXPECT_EQ(lora_rank_of(description.settings, "model.layers.0.self_attn.q_proj"), 2);
  EXPECT_EQ(lora_rank_of(description.settings, "model.layers.10.self_attn.q_proj"), 4);
  EXPECT_EQ(lora_rank_of(description.settings, "model.layers.0.self_attn.my_q_proj"),
            8);  // K follows a dot or the start
  EXPECT_EQ(lora_scale_of(description.settings, "model.layers.1.self_attn.q_proj"), 16.0 / 4);
  EXPECT_EQ(lora_scale_of(description.settings, "model.layers.1.self_attn.v_proj"), 5.0 / 8);
  description.settings.use_rslora = true;
  EXPECT_DOUBLE_EQ(lora_scale_of(description.settings, "x.q_proj"), 16.0 / std::sqrt(4.0));
}

TEST(AdapterDescription, ComesFromTheConfig) {
  Config config;
  config.model.base_model = "b";
  config.adapter.lora_rank = 16;
  EXPECT_EQ(lora_alpha_of(describe_adapter(config, "chatml").settings, "q_proj"), 32);
  config.adapter.lora_alpha = 7;
  config.adapter.use_rslora = true;
  const AdapterDescription description = describe_adapter(config, "chatml");
  EXPECT_EQ(description.base_model, "b");
  EXPECT_EQ(description.settings.lora_alpha, 7);
  EXPECT_TRUE(description.settings.use_rslora);
  EXPECT_EQ(description.template_name, "chatml");
}

TEST(PeftDialect, NamesTensorsAsPeftDoes) {
  EXPECT_EQ(peft_dialect().key_of({"model.layers.0.self_attn.q_proj", "lora_A"}),
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(peft_dialect().parse("base_model.model.lm_head.lora_B.weight"),
            (ModuleRole{"lm_head", "lora_B"}));
  for (const char* other :
       {"base_model.model.q.lora_magnitude_vector", "base_model.model.q.lora_B.bias",
        "q.lora_A.weight", "base_model.model.embed_tokens.lora_embedding_A",
        "base_model.model.lora_A.weight"})
    EXPECT_FALSE(peft_dialect().parse(other)) << other;
}

// What run.json has recorded since the first release is over PEFT's keys.
TEST(AdapterHash, IsOverTheKeysOfTheFileInTheirOrder) {
  Sha256 hash;
  const std::vector<float> a = {1, 2}, b = {3, 4};
  hash.update(std::string("base_model.model.m.lora_A.weight\0001,2\0", 37));
  hash.update(a.data(), 8);
  hash.update(std::string("base_model.model.m.lora_B.weight\0002,1\0", 37));
  hash.update(b.data(), 8);
  EXPECT_EQ(adapter_sha256({{"m.lora_B", at::tensor({3.0f, 4.0f}).view({2, 1})},
                            {"m.lora_A", at::tensor({1.0f, 2.0f}).view({1, 2})}}),
            hash.hex());
}

TEST_F(AdapterFolder, AFileAloneCarriesItsDescription) {
  write(some_description());
  const TempFolder elsewhere;
  fs::copy_file(folder_.file("adapter_model.safetensors"), elsewhere.file("mine.safetensors"));
  const LoadedAdapter adapter = load_adapter(elsewhere.file("mine.safetensors"));
  EXPECT_EQ(adapter.description.settings.lora_alpha, 8);
  EXPECT_EQ(adapter.description.template_name, "alpaca");
  // The configuration of another adapter beside it changes nothing.
  elsewhere.write("adapter_config.json", R"({"peft_type": "LORA", "r": 4, "lora_alpha": 99,)"
                                         R"( "target_modules": ["q_proj", "v_proj"]})");
  EXPECT_EQ(load_adapter(elsewhere.file("mine.safetensors")).description.settings.lora_alpha, 8);
}

TEST_F(AdapterFolder, AForeignFileIsDescribedByTheConfigBesideItOrRefused) {
  write_safetensors(folder_.file("foreign.safetensors"),
                    in_dialect(peft_dialect(), some_tensors(4)), {{"format", "pt"}});
  EXPECT_EQ(load_error(folder_.file("foreign.safetensors")),
            "adapter/foreign.safetensors: no adapter_config.json beside it and none in its header, "
            "so lora_alpha is unknown; "
            "give the PEFT folder of this adapter");
  folder_.write("adapter_config.json", R"({"peft_type": "LORA", "r": 4, "lora_alpha": 99,)"
                                       R"( "target_modules": ["q_proj", "v_proj"]})");
  EXPECT_EQ(load_adapter(folder_.file("foreign.safetensors")).description.settings.lora_alpha, 99);
}

// Museum 79.
TEST_F(AdapterFolder, WithoutItsConfigIsRefused) {
  write(some_description());
  fs::remove(folder_.file("adapter_config.json"));
  EXPECT_EQ(load_error(), "adapter/: no adapter_config.json beside adapter_model.safetensors");
}

// Museum 80.
TEST_F(AdapterFolder, WithAnotherRankThanItSaysIsRefused) {
  write(some_description(), /*lora_rank=*/16);
  change_config([](auto& config) { config["r"] = 8; });
  EXPECT_EQ(load_error(), "adapter/: lora_A of 'q_proj' has rank 16, adapter_config.json says r 8");
}

TEST_F(AdapterFolder, RequestsForWhatWeLackAreNamed) {
  write(some_description());
  const auto line = [&](const char* key, const nlohmann::ordered_json& value) {
    const auto before = config();
    change_config([&](auto& config) { config[key] = value; });
    const std::string text = load_error();
    folder_.write("adapter_config.json", before.dump());
    return text;
  };
  const std::string fix = "; use an adapter with plain LoRA matrices";
  EXPECT_EQ(line("use_dora", true),
            "adapter/adapter_config.json: use_dora true is not supported" + fix);
  EXPECT_EQ(line("modules_to_save", {"lm_head"}),
            "adapter/adapter_config.json: modules_to_save [\"lm_head\"] is not supported" + fix);
  EXPECT_EQ(line("lora_bias", true),
            "adapter/adapter_config.json: lora_bias true is not supported" + fix);
  EXPECT_EQ(line("fan_in_fan_out", true), "(no error)");  // PEFT takes it as false
  EXPECT_EQ(
      line("layers_pattern", "layers"),
      "adapter/adapter_config.json: layers_pattern without layers_to_transform, expected both, "
      "as PEFT does; take layers_pattern out, or say which layers");
  EXPECT_EQ(line("bias", "all"),
            "adapter/adapter_config.json: bias \"all\" is not supported" + fix);
  EXPECT_EQ(line("peft_type", "IA3"),
            "adapter/adapter_config.json: peft_type 'IA3' is not supported, expected LORA; train a "
            "LoRA adapter, or merge this one in PEFT");
  EXPECT_EQ(line("r", 0), "adapter/adapter_config.json: r 0, expected 1 to 1024");
  EXPECT_EQ(line("r", "x"), "adapter/adapter_config.json: 'r' is \"x\", expected an integer");
  EXPECT_EQ(line("unknown_key_of_tomorrow", 1), "(no error)");
}

TEST_F(AdapterFolder, MadeForABaseThatItsInitialisationChangedIsRefused) {
  write(some_description());
  const auto error_with = [&](const nlohmann::ordered_json& value) {
    change_config([&](auto& config) { config["init_lora_weights"] = value; });
    return load_error();
  };
  for (const char* changing : {"pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "lora_ga"})
    EXPECT_THAT(error_with(changing),
                testing::HasSubstr("' changed the base, these matrices do not fit the one on disk, "
                                   "expected an adapter of the unchanged base; save it in PEFT "
                                   "with save_pretrained(..., "
                                   "path_initial_model_for_weight_conversion=...)"))
        << changing;
  EXPECT_THAT(error_with("loftq"), testing::HasSubstr("; merge it in PEFT into the base that"));
  EXPECT_THAT(error_with("svd_of_tomorrow"), testing::HasSubstr("'svd_of_tomorrow' is not known"));
  for (const nlohmann::ordered_json& keeping : std::vector<nlohmann::ordered_json>{
           true, false, nullptr, "gaussian", "eva", "orthogonal", "mica"})
    EXPECT_EQ(error_with(keeping), "(no error)") << keeping;
}

TEST_F(AdapterFolder, TensorsThatAreNotLoraOfALinearLayerAreNamed) {
  write(some_description());
  const auto line = [&](const std::string& name, const at::Tensor& tensor) {
    NamedTensors tensors = in_dialect(peft_dialect(), some_tensors(4));
    tensors.emplace_back(name, tensor);
    write_safetensors(folder_.file("adapter_model.safetensors"), tensors, {});
    return load_error();
  };
  EXPECT_EQ(line("base_model.model.embed.lora_embedding_A", at::ones({4, 9})),
            "adapter/: tensor 'base_model.model.embed.lora_embedding_A' [4, 9] is not supported, "
            "expected lora_A and lora_B of linear layers");
  EXPECT_EQ(line("base_model.model.q_proj.lora_A.weight", at::ones({4, 6})),
            "adapter/: tensor 'base_model.model.q_proj.lora_A.weight' has no "
            "'base_model.model.q_proj.lora_B.weight'");
}

TEST_F(AdapterFolder, ValuesThatAreNotFiniteAreRefused) {
  NamedTensors tensors = some_tensors(4);
  tensors[1].second[2][3] = std::nan("");
  peft_dialect().write(folder_.path(), some_description(), tensors, "fp32");
  EXPECT_EQ(load_error(), "adapter/: tensor '" +
                              peft_dialect().key_of(ModuleRole::of(tensors[1].first)) +
                              "' holds NaN at [2, 3]; download again");
}

TEST_F(AdapterFolder, ChosenLayersBecomeFullNames) {
  write(some_description());
  change_config([](auto& config) { config["layers_to_transform"] = {0, 1}; });
  EXPECT_EQ(load_adapter(folder_.path()).description.settings.target_modules.suffixes.front(),
            "model.layers.0.self_attn.q_proj");
}

TEST_F(AdapterFolder, ATextRunLeavesThreeFiles) {
  write_llm_exports(folder_.path(), some_description(), some_tensors(4), "fp32");
  EXPECT_TRUE(fs::exists(folder_.file("adapter_config.json")));
  EXPECT_EQ(read_file(folder_.file("pytorch_lora_weights.safetensors")),
            read_file(folder_.file("adapter_model.safetensors")));
}

}  // namespace
}  // namespace lora_dist
