// The museum of bad inputs of a training run: each gets exactly this line and exit code before the
// first update, and nothing half-written is left.
#include <cstring>
#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/io/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

const std::string kSource = LORA_DIST_SOURCE_DIR;
constexpr auto kRecord = R"({"instruction": "Where is Oslo?", "output": "In Norway."})";

struct BadRun {
  std::string name;
  std::function<void(const TempFolder&)> spoil;  // base/, train.jsonl and c.yaml are good before
  std::vector<std::string> overrides;
  std::string line;  // without "error: "
  int exit_code;
};

/// The header of base/model.safetensors as text, and where its tensors' bytes begin.
std::string header_of(const std::string& bytes) {
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  return bytes.substr(sizeof size, size);
}

/// Changes base/model.safetensors as bytes.
auto edit_weights(std::function<void(std::string& bytes)> edit) {
  return [edit](const TempFolder& folder) {
    std::string bytes = read_file(folder.file("base/model.safetensors"));
    edit(bytes);
    folder.write("base/model.safetensors", bytes);
  };
}

auto replace_file(const std::string& name, const std::string& content) {
  return [=](const TempFolder& folder) { folder.write(name, content); };
}

auto edit_config(const std::string& key, const nlohmann::json& value) {
  return [=](const TempFolder& folder) {
    auto config = nlohmann::json::parse(read_file(folder.file("base/config.json")));
    config[key] = value;
    folder.write("base/config.json", config.dump());
  };
}

auto remove_file(const std::string& name) {
  return [=](const TempFolder& folder) { fs::remove(folder.file(name)); };
}

void put_nan_into_the_last_norm(std::string& bytes) {
  const std::string header = header_of(bytes);
  const auto entry = nlohmann::json::parse(header).at("model.norm.weight");
  ASSERT_EQ(entry.at("dtype"), "BF16");
  const size_t place = 8 + header.size() + entry.at("data_offsets")[0].get<size_t>() + 2 * 17;
  bytes[place] = '\xC0';
  bytes[place + 1] = '\x7F';
}

void rename_a_tensor(std::string& bytes) {
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  bytes.replace(bytes.find(name), name.size(), "model.layers.1.mlp.up_peoj.weight");
}

void good_files_only(const TempFolder&) {}

const std::vector<BadRun> kBadRuns = {
    {"base_missing",
     good_files_only,
     {"base_model=nowhere"},
     "nowhere: no such folder; give the folder of a downloaded model",
     4},
    {"base_is_a_file",
     good_files_only,
     {"base_model=train.jsonl"},
     "train.jsonl: is a file, expected the folder of a base model",
     4},
    {"base_is_no_model_folder",
     remove_file("base/config.json"),
     {},
     "base/: no config.json, expected a model folder in Hugging Face layout",
     4},
    {"051_weights_cut",
     [](const TempFolder& folder) {
       fs::resize_file(folder.file("base/model.safetensors"), 3'000'000);
     },
     {},
     "base/model.safetensors: tensor 'model.layers.2.self_attn.o_proj.weight' ends at 3055744, "
     "file has 3000000; download again",
     4},
    {"054_nan_in_weights",
     edit_weights(put_nan_into_the_last_norm),
     {},
     "base/model.safetensors: tensor 'model.norm.weight' holds NaN at [17]; download again",
     4},
    {"056_only_pickles",
     [](const TempFolder& folder) {
       fs::rename(folder.file("base/model.safetensors"), folder.file("base/pytorch_model.bin"));
     },
     {},
     "base/: only pytorch_model.bin; pickles are never read, use the safetensors version of this "
     "model",
     4},
    {"057_git_lfs_pointer",
     replace_file("base/model.safetensors",
                  "version https://git-lfs.github.com/spec/v1\n"
                  "oid sha256:0123456789abcdef\nsize 5\n"),
     {},
     "base/model.safetensors: Git LFS pointer (78 bytes), not the file; run `git lfs pull`",
     4},
    {"058_saved_web_page",
     replace_file("base/model.safetensors", "<!DOCTYPE html><html></html>"),
     {},
     "base/model.safetensors: an HTML page, not weights; download again, perhaps a login is needed",
     4},
    {"061_wrong_shape",
     edit_config("vocab_size", 4100),
     {},
     "base/model.safetensors: 'model.embed_tokens.weight' is [2048, 192], expected [4100, 192] by "
     "config.json; weights and config.json belong to different models",
     4},
    {"062_tensor_missing",
     edit_weights(rename_a_tensor),
     {},
     "base/model.safetensors: 1 tensor missing: model.layers.1.mlp.up_proj.weight; wrong or "
     "incomplete base",
     4},
    {"071_unknown_architecture",
     edit_config("model_type", "mamba"),
     {},
     "base/config.json: model_type 'mamba', expected one of llama, mistral, qwen2, qwen3, phi3, "
     "gemma, gemma2; choose a base model of one of these families",
     4},
    {"data_missing",
     good_files_only,
     {"train_data_dir=nowhere"},
     "nowhere: no such file or folder; check the path",
     3},
    {"data_empty",
     replace_file("train.jsonl", ""),
     {},
     "train.jsonl: 0 bytes, expected records; fill it or take it away",
     3},
    {"json_line_broken",
     replace_file("train.jsonl", std::string(kRecord) + "\n{\"instruction\": \"x\", \n"),
     {},
     "train.jsonl:2: column 22: unexpected end of text, expected string literal",
     3},
    {"no_answer",
     replace_file("train.jsonl", R"({"messages": [{"role": "user", "content": "a"},)"
                                 R"( {"role": "user", "content": "b"}]})"),
     {},
     "train.jsonl:1: a conversation without an assistant turn, expected at least one answer to "
     "learn; add the answer, or take the conversation out",
     3},
    {"question_twice",
     replace_file("train.jsonl", R"({"messages": [{"role": "user", "content": "a"},)"
                                 R"( {"role": "user", "content": "b"},)"
                                 R"( {"role": "assistant", "content": "c"}]})"),
     {"template=alpaca"},
     "train.jsonl:1: messages[1]: a turn of 'user', expected a turn of 'assistant'",
     3},
    {"no_label_left",
     replace_file("train.jsonl",
                  std::string(kRecord) + "\n" +
                      R"({"instruction": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",)" +
                      R"( "output": "x"})"),
     {"max_seq_length=16"},
     "train.jsonl:2: 52 tokens, no answer left within max_seq_length 16; raise it, shorten the "
     "record, or set data_errors: skip",
     3},
    {"no_target_module",
     good_files_only,
     {"target_modules=[qq_proj]"},
     "target_modules: 'qq_proj' matches no layer of 'llama', expected q_proj, k_proj, v_proj, "
     "o_proj, gate_proj, up_proj, down_proj; did you mean 'q_proj'?",
     2},
    {"output_not_writable",
     good_files_only,
     {"output_dir=/proc/x"},
     "/proc/x/: cannot write (no such file or directory)",
     5},
    {"output_below_a_file",
     good_files_only,
     {"output_dir=train.jsonl/x"},
     "train.jsonl: is a file, expected a folder; choose another output_dir",
     5},
};

void write_good_files(const TempFolder& folder) {
  fs::copy(kSource + "/examples/base-tiny", folder.file("base"));
  folder.write("train.jsonl", std::string(kRecord) + "\n" + kRecord + "\n");
  folder.write("c.yaml",
               "base_model: base\ntrain_data_dir: train.jsonl\noutput_dir: out\n"
               "batch_size: 1\nglobal_batch_size: 2\nmax_steps: 1\n");
}

/// The lines of standard error that are errors.
std::string errors_in(const std::string& text) {
  std::istringstream lines(text);
  std::string errors;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("error: ")) errors += line + "\n";
  return errors;
}

class RunMuseum : public testing::TestWithParam<BadRun> {};

TEST_P(RunMuseum, GetsExactlyThisLineAndExitCodeAndNoAdapter) {
  const TempFolder folder;
  write_good_files(folder);
  GetParam().spoil(folder);
  std::vector<std::string> command = {LORA_DIST_BINARY, "--config", "c.yaml"};
  command.insert(command.end(), GetParam().overrides.begin(), GetParam().overrides.end());

  const ProgramResult result = run_program(command, folder.path());

  EXPECT_EQ(errors_in(result.standard_error), "error: " + GetParam().line + "\n");
  EXPECT_EQ(result.standard_output, "");
  EXPECT_EQ(result.exit_code, GetParam().exit_code);
  EXPECT_FALSE(fs::exists(folder.file("out/adapter_model.safetensors")));
  const bool reached_training = GetParam().name.starts_with("054");
  EXPECT_EQ(fs::exists(folder.file("out")), reached_training) << "something was left behind";
}

INSTANTIATE_TEST_SUITE_P(Exhibits, RunMuseum, testing::ValuesIn(kBadRuns),
                         [](const auto& info) { return info.param.name; });

TEST(RunMuseum, SaysTheLineOnceForThreeRanksAndRefusesMoreRanksThanMicroBatches) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  write_good_files(folder);
  const ProgramResult result =
      run_program({LORA_DIST_BINARY, "--config", "c.yaml", "--ranks", "3"}, folder.path());
  EXPECT_EQ(result.standard_error,
            "error: c.yaml:5: 3 ranks, but global_batch_size 2 / batch_size 1 gives 2 "
            "micro-batches; use at most 2 ranks\n");
  EXPECT_EQ(result.exit_code, 2);
}

TEST(RunMuseum, SaysInOneLineThatNcclNeedsAGpuForEveryRank) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  write_good_files(folder);
  const ProgramResult result = run_program(
      {LORA_DIST_BINARY, "--config", "c.yaml", "--ranks", "2", "backend=nccl", "device=cpu"},
      folder.path());
  const std::string& line = result.standard_error;
  EXPECT_TRUE(line.starts_with("error: backend: 'nccl' ")) << line;  // the rest names the build
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_FALSE(fs::exists(folder.file("out"))) << "something was left behind";
}

TEST(RunMuseum, GivesUpOnARankThatNeverComesToMpi) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  write_good_files(folder);
  const ProgramResult result = run_program(
      {"mpirun", "--quiet", "--allow-run-as-root", "--oversubscribe", "-n", "1", LORA_DIST_BINARY,
       "--config", "c.yaml", "startup_timeout_s=1", ":", "-n", "1", "sleep", "60"},
      folder.path());
  EXPECT_THAT(
      result.standard_error,
      testing::HasSubstr("rendezvous: the ranks did not come together within 1 s "
                         "(startup_timeout_s) [not all ranks came to MPI_Init]; look at "
                         "the other ranks' logs, and check that all hosts reach rank 0's\n"));
  EXPECT_EQ(result.exit_code, 7);
}

TEST(RunMuseum, NamesTheRankWithAnotherBackend) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  write_good_files(folder);
  const ProgramResult result =
      run_program({"mpirun", "--quiet", "--allow-run-as-root", "--oversubscribe", "-n", "1",
                   LORA_DIST_BINARY, "--config", "c.yaml", "backend=mpi", ":", "-n", "1",
                   LORA_DIST_BINARY, "--config", "c.yaml", "backend=gloo"},
                  folder.path());
  EXPECT_EQ(errors_in(result.standard_error),
            "error: config: rank 1 has 'backend: gloo', rank 0 has 'backend: mpi'; start all ranks "
            "with one config\n");
  EXPECT_EQ(result.exit_code, 2);
}

}  // namespace
}  // namespace lora_dist
