#include "data/inspect/inspect.hpp"

#include <filesystem>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "data/checkpoints/store.hpp"
#include "data/exports/peft.hpp"
#include "data/preparation/manifest.hpp"
#include "data/weights/safetensors.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/text_parts.hpp"

namespace lora_dist {
namespace {

AdapterDescription description() {
  return {.base_model = "b",
          .settings = {.lora_rank = 2, .lora_alpha = 6, .target_modules = {{"q_proj"}, {}, false}},
          .template_name = "plain"};
}

NamedTensors tensors() {
  return {{"q_proj.lora_A", at::full({2, 3}, 2.0)}, {"q_proj.lora_B", at::zeros({4, 2})}};
}

TEST(Inspect, ASafetensorsFileListsItsTensors) {
  const TempFolder folder;
  const std::string path = folder.file("m.safetensors");
  write_safetensors(path, {{"w", at::ones({2, 3}, at::kBFloat16)}, {"v", at::ones({4})}},
                    {{"format", "pt"}});
  const auto it = inspect_path(path);
  EXPECT_EQ(it["kind"], "safetensors");
  EXPECT_EQ(it["num_tensors"], 2);
  EXPECT_EQ(it["parameters"], 10);
  EXPECT_EQ(it["bytes"], 28);
  EXPECT_EQ(it["dtypes"].dump(), R"({"BF16":6,"F32":4})");
  EXPECT_EQ(it["metadata"]["format"], "pt");
  EXPECT_EQ(it["tensors"][1].dump(), R"({"name":"w","dtype":"BF16","shape":[2,3],"bytes":12})");
  EXPECT_NE(inspection_text(it).find("[2,3]"), std::string::npos);
}

TEST(Inspect, AnAdapterTellsRankScaleAndNorms) {
  const TempFolder folder;
  peft_dialect().write(folder.path(), description(), tensors(), "fp32");
  for (const std::string& path : {folder.path(), folder.file("adapter_model.safetensors")}) {
    const auto it = inspect_path(path);
    EXPECT_EQ(it["kind"], "adapter");
    EXPECT_EQ(it["r"], 2);
    EXPECT_EQ(it["template"], "plain");
    EXPECT_EQ(it["parameters"], 14);
    ASSERT_EQ(it["modules"].size(), 1u);
    EXPECT_EQ(it["modules"][0]["name"], "q_proj");
    EXPECT_EQ(it["modules"][0]["scale"], 3.0);
    EXPECT_DOUBLE_EQ(it["modules"][0]["norm_a"].get<double>(), std::sqrt(24.0));
    EXPECT_EQ(it["modules"][0]["norm_b"], 0.0);
    EXPECT_NE(inspection_text(it).find("q_proj"), std::string::npos);
  }
}

class InspectRun : public testing::Test {
 protected:
  void SetUp() override {
    const auto store = make_checkpoint_store({.output_dir = folder_.path(),
                                              .description = description(),
                                              .fingerprints = {{"base", "x"}}});
    for (const int64_t step : {1, 2})
      store->save(
          {.step = step, .epoch = 0.5, .adapter = tensors(), .optimizer = {}, .trainer = {}});
    store->flush();
    folder_.write("checkpoint-2/trainer_state.json", "{\n\n");
  }
  TempFolder folder_;
};

TEST_F(InspectRun, ACheckpointSaysWhetherItVerifies) {
  const auto good = inspect_path(folder_.file("checkpoint-1"));
  EXPECT_EQ(good["kind"], "checkpoint");
  EXPECT_EQ(good["step"], 1);
  EXPECT_EQ(good["verified"], true);
  const auto bad = inspect_path(folder_.file("checkpoint-2"));
  EXPECT_EQ(bad["verified"], false);
  EXPECT_EQ(bad["reason"], "trainer_state.json hash differs");
  EXPECT_NE(inspection_text(bad).find("does not verify: trainer_state.json hash differs"),
            std::string::npos);
}

TEST_F(InspectRun, ARunFolderListsItsCheckpointsNewestFirst) {
  folder_.write("run.json", R"({"world_size": 2})");
  folder_.write("metrics.jsonl", "{\"step\": 1}\n{\"step\": 2}\n{\"st");
  const auto it = inspect_path(folder_.path());
  EXPECT_EQ(it["kind"], "run");
  EXPECT_EQ(it["run"]["world_size"], 2);
  EXPECT_EQ(it["last_metrics"]["step"], 2);
  EXPECT_EQ(it["checkpoints"][0]["step"], 2);
  EXPECT_EQ(it["checkpoints"][1]["verified"], true);
  EXPECT_NE(inspection_text(it).find("world_size"), std::string::npos);
}

TEST(Inspect, ABaseModelTellsArchitectureAndParameters) {
  const TempFolder folder;
  folder.write("config.json", R"({"model_type": "llama", "hidden_size": 64})");
  write_safetensors(folder.file("model.safetensors"), {{"w", at::ones({5, 5})}}, {});
  const auto it = inspect_path(folder.path());
  EXPECT_EQ(it["kind"], "base_model");
  EXPECT_EQ(it["model_type"], "llama");
  EXPECT_EQ(it["parameters"], 25);
  EXPECT_NE(inspection_text(it).find("llama"), std::string::npos);
}

TEST(Inspect, ABaseModelIsAPageWithALineForEachKindOfTensor) {
  const auto it = inspect_path(std::string(LORA_DIST_SOURCE_DIR) + "/examples/base-tiny");
  EXPECT_EQ(it["model"]["tied_head"], true);
  EXPECT_EQ(it["eos_ids"].dump(), "[2047,2043]");
  EXPECT_EQ(it["tensors"].size(), it["num_tensors"]);
  const std::string page = inspection_text(it);
  EXPECT_NE(page.find("    6 x BF16 [512,192]        model.layers.*.mlp.up_proj.weight\n"),
            std::string::npos)
      << page;
  std::istringstream lines(page);
  int64_t num_lines = 0;
  for (std::string line; std::getline(lines, line); ++num_lines) EXPECT_LE(line.size(), 80u);
  EXPECT_LE(num_lines, 30);
  EXPECT_NE(inspection_text(it, /*all=*/true).find("model.layers.5.mlp.up_proj.weight"),
            std::string::npos);
}

TEST(Inspect, ABaseModelOfAnUnknownFamilyIsToldAllTheSame) {
  const TempFolder folder;
  folder.write("config.json", R"({"model_type": "mamba"})");
  write_safetensors(folder.file("model.safetensors"), {{"w", at::ones({5, 5})}}, {});
  const std::string page = inspection_text(inspect_path(folder.path()));
  EXPECT_NE(page.find("mamba: "), std::string::npos) << page;
  EXPECT_NE(page.find("    1 x F32  [5,5]            w\n"), std::string::npos) << page;
}

TEST(Inspect, AnHdf5PartTellsSamplesTokensAndWhatItWasMadeFrom) {
  const TempFolder folder;
  const std::string path = folder.file("part-0000.h5");
  write_part(path, {.source_sha256 = "abc", .max_seq_length = 16},
             text_content({{{5, 6}, {0, 1}}, {{7}, {1}}}));
  const auto it = inspect_path(path);
  EXPECT_EQ(it["kind"], "hdf5_part");
  EXPECT_EQ(it["num_samples"], 2);
  EXPECT_EQ(it["num_tokens"], 3);
  EXPECT_EQ(it["task"], "text-generation");
  EXPECT_EQ(it["max_seq_length"], 16);
  EXPECT_EQ(it["source_sha256"], "abc");
  EXPECT_NE(inspection_text(it).find("num_samples"), std::string::npos);
}

TEST(Inspect, PreparedDataListsItsParts) {
  const TempFolder folder;
  write_part(folder.file("part-0000.h5"), {.max_seq_length = 16}, text_content({{{5}, {1}}}));
  const Manifest manifest{"f1",
                          {{"format", "text"}},
                          {summarise_part(folder.file("part-0000.h5"), text_schema_of(10))}};
  folder.write("manifest.json", manifest_text(manifest));
  const auto it = inspect_path(folder.path());
  EXPECT_EQ(it["kind"], "prepared");
  EXPECT_EQ(it["fingerprint"], "f1");
  EXPECT_EQ(it["parts"][0]["file"], "part-0000.h5");
  EXPECT_NE(inspection_text(it).find("1 samples, 1 tokens"), std::string::npos);
}

TEST(Inspect, TheFolderAbovePreparedSetsListsThem) {
  const TempFolder folder;
  std::filesystem::create_directories(folder.file("f1"));
  const std::string part = folder.file("f1/part-0000.h5");
  write_part(part, {.max_seq_length = 16}, text_content({{{5}, {1}}}));
  folder.write(
      "f1/manifest.json",
      manifest_text({"f1", {{"max_seq_length", 16}}, {summarise_part(part, text_schema_of(10))}}));
  const auto it = inspect_path(folder.path());
  EXPECT_EQ(it["kind"], "prepared_sets");
  EXPECT_EQ(it["sets"][0]["name"], "f1");
  EXPECT_EQ(it["sets"][0]["samples"], 1);
  EXPECT_NE(inspection_text(it).find("1 samples, 1 tokens"), std::string::npos);
}

TEST(Inspect, DataTellFormatRecordsAndTheFirstOne) {
  const TempFolder folder;
  const std::string lines =
      folder.write("a.jsonl", R"({"instruction": "问", "input": "i", "output": "答"})"
                              "\n{\"instr\n");
  const std::string list = folder.write("b.json", R"([{"text": "one"}, {"text": "two"}])");
  const std::string table = folder.write("c.csv", "question,answer\r\nq,a\r\n");
  const auto it = inspect_path(lines);
  EXPECT_EQ(it["kind"], "data");
  EXPECT_EQ(it["files"][0]["format"], "alpaca");
  EXPECT_EQ(it["files"][0]["records"], 1);
  EXPECT_EQ(it["files"][0]["broken"], 1);
  EXPECT_EQ(it["first_record"]["turns"][0]["content"], "问\n\ni");
  const std::string page = inspection_text(it);
  EXPECT_NE(page.find("1 record, 1 broken\n"), std::string::npos) << page;
  EXPECT_NE(page.find("lora-dist tokenize --base BASE --file " + lines), std::string::npos) << page;
  EXPECT_EQ(inspect_path(list)["files"][0]["records"], 2);
  EXPECT_EQ(inspect_path(list)["first_record"]["text"], "one");
  EXPECT_EQ(inspect_path(table)["files"][0]["format"], "alpaca");
  EXPECT_EQ(inspect_path(folder.path())["files"].size(), 3u);
}

TEST(Inspect, FilesOfARunAndAModelAreNamedWithTheWayOn) {
  const TempFolder folder;
  const std::string run =
      folder.write("run.json", R"({"steps": 7, "fingerprints": {"base": "x"}})");
  const std::string metrics = folder.write("metrics.jsonl", "{\"step\": 1, \"loss\": 2.5}\n");
  EXPECT_EQ(inspect_path(run)["run"]["steps"], 7);
  EXPECT_EQ(inspection_text(inspect_path(run)).find("fingerprints"), std::string::npos);
  EXPECT_EQ(inspect_path(metrics)["last_metrics"]["loss"], 2.5);
  for (const auto& [name, next] : std::map<std::string, std::string>{
           {"law.yaml", "lora-dist validate " + folder.file("law.yaml")},
           {"adapter_config.json", "lora-dist inspect " + folder.path()},
           {"config.json", "lora-dist inspect " + folder.path()},
           {"events.out.tfevents.1.vm.2.0", "tensorboard --logdir " + folder.path()}})
    EXPECT_EQ(inspect_path(folder.write(name, "x"))["next"], next);
  EXPECT_EQ(inspection_text(inspect_path(folder.write("README.md", "# hello"))),
            folder.file("README.md") + ": text for people\n");
}

TEST(Inspect, AFolderOfConfigsNamesTheirCommand) {
  const TempFolder folder;
  folder.write("law.yaml", "epochs: 1");
  EXPECT_TRUE(error_text<ConfigError>([&] {
                inspect_path(folder.path());
              }).ends_with("; try `lora-dist validate " + folder.file("law.yaml") + "`"));
}

TEST(Inspect, SaysWhatItDoesNotKnow) {
  const TempFolder folder;
  EXPECT_EQ(error_text<ConfigError>([&] { inspect_path(folder.file("none")); }),
            folder.file("none") + ": no such file or folder; check the path");
  EXPECT_EQ(error_text<ConfigError>([&] { inspect_path(folder.path()); }),
            folder.path() +
                "/: holds nothing that lora-dist knows, expected a run, a checkpoint, an adapter, "
                "a base model, data or prepared data");
  const std::string gguf = folder.write("m.gguf", "GGUF\x03");
  EXPECT_EQ(error_text<ModelError>([&] { inspect_path(gguf); }),
            gguf + ": inspecting GGUF files is not available yet; inspect a safetensors file");
  const std::string program = folder.write("program", std::string("\x7f"
                                                                  "ELF\0\0 text\n",
                                                                  12));
  EXPECT_EQ(
      error_text<DataError>([&] { inspect_path(program); }),
      program + ": a binary file of no known kind, expected weights, a run, an adapter or data");
}

}  // namespace
}  // namespace lora_dist
