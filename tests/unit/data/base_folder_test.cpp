#include "data/weights/base_folder.hpp"

#include <filesystem>

#include <gtest/gtest.h>

#include "data/io/json.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

/// Names in messages as the museum has them: the folder is called base.
std::string museum_line(std::string text, const std::string& folder) {
  for (size_t at = text.find(folder); at != std::string::npos; at = text.find(folder))
    text.replace(at, folder.size(), "base");
  return text;
}

std::string open_error(const TempFolder& folder) {
  return museum_line(error_text<ModelError>([&] { open_base_weights(folder.path()); }),
                     folder.path());
}

std::string config_error(const TempFolder& folder) {
  return museum_line(error_text<ModelError>([&] { read_model_config(folder.path()); }),
                     folder.path());
}

std::vector<std::string> names_of(const WeightSource& source) {
  std::vector<std::string> names;
  for (const WeightInfo& info : source.weights()) names.push_back(info.name);
  return names;
}

/// Two shards and an index: a, c in the first, b in the second.
void write_sharded(const TempFolder& folder) {
  write_safetensors(folder.file("model-00001-of-00002.safetensors"),
                    {{"a", at::full({2}, 1.0)}, {"c", at::full({2}, 3.0)}}, {});
  write_safetensors(folder.file("model-00002-of-00002.safetensors"), {{"b", at::full({2}, 2.0)}},
                    {});
  folder.write("model.safetensors.index.json", R"({"metadata": {"total_size": 24}, "weight_map": {
    "a": "model-00001-of-00002.safetensors", "c": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})");
}

TEST(BaseWeights, ShardsAreOneSourceInNameOrder) {
  const TempFolder folder;
  write_sharded(folder);
  const auto source = open_base_weights(folder.path());
  ASSERT_EQ(names_of(*source), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(at::equal(source->acquire(0).as_tensor(), at::full({2}, 1.0)));
  EXPECT_TRUE(at::equal(source->acquire(1).as_tensor(), at::full({2}, 2.0)));
  EXPECT_TRUE(at::equal(source->acquire(2).as_tensor(), at::full({2}, 3.0)));
}

TEST(BaseWeights, AnAcquiredWeightOutlivesItsSource) {
  const TempFolder folder;
  write_safetensors(folder.file("model.safetensors"), {{"w", at::arange(5, at::kFloat)}}, {});
  auto source = open_base_weights(folder.path());
  const at::Tensor weight = source->acquire(0).as_tensor();
  source.reset();
  EXPECT_TRUE(at::equal(weight, at::arange(5, at::kFloat)));
}

// Museum 56.
TEST(BaseWeights, PicklesAreNeverRead) {
  const TempFolder folder;
  folder.write("pytorch_model.bin", "PK");
  EXPECT_EQ(open_error(folder),
            "base/: only pytorch_model.bin; pickles are never read, use the safetensors version of "
            "this model");
}

// Museum 59.
TEST(BaseWeights, AnIndexThatNamesAMissingFile) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"a": "model-00003-of-00003.safetensors"}})");
  EXPECT_EQ(open_error(folder),
            "base/model.safetensors.index.json: 'model-00003-of-00003.safetensors' does not exist; "
            "download again");
}

// Museum 60.
TEST(BaseWeights, AnIndexThatLeavesTheFolder) {
  const TempFolder folder;
  folder.write("model.safetensors.index.json", R"({"weight_map": {"a": "/etc/passwd"}})");
  EXPECT_EQ(open_error(folder),
            "base/model.safetensors.index.json: file name '/etc/passwd' leaves the folder");
}

TEST(BaseWeights, AnIndexThatMapsATensorToTheWrongFile) {
  const TempFolder folder;
  write_sharded(folder);
  folder.write("model.safetensors.index.json",
               R"({"weight_map": {"b": "model-00001-of-00002.safetensors"}})");
  // A warning names it; a model that needs it misses it by name.
  EXPECT_EQ(names_of(*open_base_weights(folder.path())), (std::vector<std::string>{"a", "c"}));
}

TEST(BaseWeights, ATensorInTwoFilesIsTheOneThatTheIndexNames) {
  const TempFolder folder;
  write_sharded(folder);
  write_safetensors(folder.file("model-00002-of-00002.safetensors"),
                    {{"a", at::full({2}, 7.0)}, {"b", at::full({2}, 2.0)}}, {});
  const auto first_of = [&] { return open_base_weights(folder.path())->acquire(0).as_tensor(); };
  EXPECT_TRUE(at::equal(first_of(), at::full({2}, 1.0)));
  folder.write("model.safetensors.index.json", R"({"weight_map": {
    "a": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}})");
  EXPECT_TRUE(at::equal(first_of(), at::full({2}, 7.0)));
  EXPECT_EQ(names_of(*open_base_weights(folder.path())), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(BaseWeights, AFolderWithoutWeightsSaysWhatIsLookedFor) {
  const TempFolder folder;
  EXPECT_EQ(open_error(folder),
            "base/: no weights, expected model.safetensors or model.safetensors.index.json; "
            "download again");
  EXPECT_EQ(error_text<ModelError>([&] { open_base_weights(folder.file("none")); }),
            folder.file("none") + ": no such folder; give the folder of a downloaded model");
  EXPECT_EQ(
      error_text<ModelError>([&] { open_base_weights("some-org/Some-Model"); }),
      "some-org/Some-Model: no such folder; give the folder of a downloaded model: hf download "
      "some-org/Some-Model --local-dir models/Some-Model");
}

TEST(ModelConfig, IsReadAsItStands) {
  const TempFolder folder;
  folder.write("config.json",
               R"({"model_type": "llama", "hidden_size": 64, "quantization_config": null})");
  EXPECT_EQ(read_model_config(folder.path())["hidden_size"], 64);
}

TEST(ModelConfig, WhatIsWrongWithIt) {
  const TempFolder folder;
  EXPECT_EQ(config_error(folder),
            "base/: no config.json, expected a model folder in Hugging Face layout");
  folder.write("config.json", R"({"a": )");
  EXPECT_TRUE(config_error(folder).starts_with("base/config.json: byte 6: unexpected end"))
      << config_error(folder);
  // Museum 72.
  folder.write("config.json", R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})");
  EXPECT_EQ(config_error(folder),
            "base/config.json: GPTQ weights are not supported; use the unquantised base with "
            "quantization: nf4");
  folder.write("config.json", R"({"compression_config": {"quant_method": "compressed-tensors"}})");
  EXPECT_EQ(config_error(folder),
            "base/config.json: compressed-tensors weights are not supported; use the unquantised "
            "base with quantization: nf4");
  EXPECT_EQ(error_text<ModelError>([&] { read_model_config(folder.file("config.json")); }),
            folder.file("config.json") + ": is a file, expected the folder of a base model");
}

class MergedBase : public testing::Test {
 protected:
  void SetUp() override {
    source_.write("config.json",
                  R"({"model_type": "llama", "torch_dtype": "float32", "z": 1, "a": 2})");
    source_.write("tokenizer.json", "{\"tok\": 1}");
    source_.write("pytorch_model.bin", "not copied");
  }
  NewBaseFolder folder(const std::string& output_dir, const NamedTensors& tensors) {
    NewBaseFolder folder{
        source_.path(), output_dir, {}, [tensors](size_t i) { return tensors[i].second; }};
    for (const auto& [name, tensor] : tensors)
      folder.weights.push_back({name, &plain_format(tensor.scalar_type()), tensor.sizes().vec()});
    return folder;
  }
  TempFolder source_, target_;
  const NamedTensors tensors_ = {{"a", at::full({8}, 1, at::kBFloat16)},
                                 {"b", at::full({8}, 2, at::kBFloat16)},
                                 {"c", at::full({2}, 3.0)}};
};

TEST_F(MergedBase, HasTheConfigTheTokenizerAndTheTensors) {
  const std::string output_dir = target_.file("deep/merged");
  write_base_folder(folder(output_dir, tensors_));
  EXPECT_EQ(read_file(output_dir + "/tokenizer.json"), "{\"tok\": 1}");
  EXPECT_EQ(read_model_config(output_dir).dump(),
            R"({"model_type":"llama","torch_dtype":"bfloat16","z":1,"a":2})");
  EXPECT_FALSE(fs::exists(output_dir + "/pytorch_model.bin"));
  const auto source = open_base_weights(output_dir);
  ASSERT_EQ(names_of(*source), (std::vector<std::string>{"a", "b", "c"}));
  for (size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(at::equal(source->acquire(i).as_tensor(), tensors_[i].second));
}

TEST_F(MergedBase, SaysThatAHeadOfItsOwnIsNotTied) {
  NewBaseFolder wanted = folder(target_.file("merged"), tensors_);
  wanted.tied_embeddings = false;
  write_base_folder(wanted);
  EXPECT_EQ(read_model_config(target_.file("merged"))["tie_word_embeddings"], false);
}

TEST_F(MergedBase, IsCutIntoShardsBeyondTheLimit) {
  const std::string output_dir = target_.file("merged");
  NewBaseFolder wanted = folder(output_dir, tensors_);
  wanted.max_shard_bytes = 24;  // a and b have 16 bytes each, c has 8
  write_base_folder(wanted);
  const auto index = read_json_file(output_dir + "/model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 40);
  EXPECT_EQ(
      index["weight_map"].dump(),
      R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00002-of-00002.safetensors"})");
  EXPECT_EQ(names_of(*open_base_weights(output_dir)), (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(MergedBase, LeavesNothingWhenATensorFails) {
  NewBaseFolder wanted = folder(target_.file("merged"), tensors_);
  wanted.tensor = [](size_t) -> at::Tensor { throw ModelError({"w", "broken", {}, {}}); };
  EXPECT_THROW(write_base_folder(wanted), ModelError);
  EXPECT_TRUE(fs::is_empty(target_.path()));
}

TEST_F(MergedBase, DoesNotWriteIntoAFolderInUse) {
  const std::string text =
      error_text<ConfigError>([&] { write_base_folder(folder(source_.path(), tensors_)); });
  EXPECT_EQ(text, source_.path() +
                      "/: exists and is not empty, expected a new folder; remove it or choose "
                      "another --output");
}

}  // namespace
}  // namespace lora_dist
