// A run that needs more memory than there is ends with one line before it takes any.
#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/models/model_families.hpp"
#include "tests/support/paper_weights.hpp"
#include "tests/support/program.hpp"
#include "tests/support/safetensors_bytes.hpp"

namespace lora_dist {
namespace {

// More than the memory of any machine that runs this: 3 x 2^38 fp32 in the MLP of one block. Its
// activations are small.
constexpr LlamaShape kHugeBase = {1, int64_t{1} << 18, int64_t{1} << 20, 4096, 4096, 100, true};

/// A base folder whose weights are a hole in a file. False where the file system has no such files.
bool write_huge_base(const TempFolder& folder) {
  nlohmann::ordered_json config = paper_llama_config(kHugeBase);
  config["num_attention_heads"] = config["num_key_value_heads"] = 1;
  config["head_dim"] = 64;
  folder.write("base/config.json", config.dump());
  nlohmann::ordered_json header;
  int64_t end = 0;
  const auto model = read_model_outline(config, "config.json");
  for (const WeightRow& row : model->table().rows()) {
    const int64_t begin = end;
    end += 4 * c10::multiply_integers(row.shape);
    header[row.name] = {{"dtype", "F32"}, {"shape", row.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::string bytes = safetensors_bytes(text, 0);
  const std::string path = folder.write("base/model.safetensors", bytes);
  std::error_code problem;
  std::filesystem::resize_file(path, bytes.size() + static_cast<uint64_t>(end), problem);
  return !problem;
}

TEST(MemoryMuseum, RefusesACopyOfABaseThatDoesNotFitAndProposesToShareIt) {
  const TempFolder folder;
  if (!write_huge_base(folder)) GTEST_SKIP() << "no file of 3 TiB with a hole here";
  folder.write("data.jsonl", "{\"input_ids\": [3, 4, 5, 6]}\n");
  folder.write("c.yaml",
               "base_model: base\ntrain_data_dir: .\nmetadata_path: data.jsonl\n"
               "data_format: tokenized\noutput_dir: out\nbatch_size: 1\nmax_steps: 1\n"
               "sharding: none\ndevice: cpu\ndtype: fp32\n");
  const ProgramResult result =
      run_program({LORA_DIST_BINARY, "train", "--config", "c.yaml"}, folder.path());
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(result.standard_output, "");
  // The base alone is 3072 GiB.
  EXPECT_THAT(result.standard_error,
              testing::AllOf(testing::StartsWith("error: memory: this run needs 307"),
                             testing::HasSubstr(" GiB per rank, "),
                             testing::HasSubstr(" GiB are free; sharding: shared would need 0."),
                             testing::EndsWith(" GiB\n")));
  EXPECT_EQ(std::count(result.standard_error.begin(), result.standard_error.end(), '\n'), 1);
}

}  // namespace
}  // namespace lora_dist
