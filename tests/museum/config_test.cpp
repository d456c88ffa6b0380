// The museum of bad configs (reliability, section 13): each input gets exactly this line and exit
// code.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

struct Exhibit {
  std::string name;
  std::string yaml;  // of c.yaml; see also the two special forms below
  std::string line;  // without "error: "
  std::vector<std::string> arguments = {"validate", "--config", "c.yaml"};
  int exit_code = 2;
};

const std::string kNoFile = "(no file)";
const std::string kFolder = "(a folder)";
const std::string kHuge = "(100 MiB)";

/// `text` as line `line` of a file whose other lines are comments, Chinese ones as users write
/// them.
std::string at_line(int line, const std::string& text) {
  std::string yaml;
  for (int before = 1; before < line; ++before) yaml += "# 训练参数\n";
  return yaml + text + "\n";
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += (i && text.size() > 1 ? ", " : "") + text;
  return all;
}

std::string alias_bomb() {
  return at_line(6, "a: &a [" + repeated("lol", 10) + "]\nb: &b [" + repeated("*a", 10) +
                        "]\nc: &c [" + repeated("*b", 10) + "]\nd: &d [" + repeated("*c", 10) +
                        "]");
}

const std::vector<Exhibit> kExhibits = {
    {"001_file_missing", kNoFile, "c.yaml: no such file; give --config an existing YAML file"},
    {"002_is_a_folder", kFolder,
     "c.yaml/: a folder, expected a YAML file; if it holds data, name it as train_data_dir in a "
     "config; `lora-dist inspect c.yaml` shows it"},
    {"003_top_level_is_a_list", "- a\n- b\n", "c.yaml:1: a list, expected `key: value` lines"},
    {"004_unknown_key", at_line(7, "lora_rnk: 8"),
     "c.yaml:7: unknown key 'lora_rnk'; did you mean 'lora_rank'?"},
    {"005_key_twice", at_line(4, "epochs: 3\n\n\n\n\nepochs: 3"),
     "c.yaml:9: 'epochs' given twice, first on line 4; remove one"},
    {"006_two_spellings", at_line(5, "max_seq_length: 1024\n\n\nsequence_length: 512"),
     "c.yaml:8: sequence_length 512 and max_seq_length 1024 (line 5) are one key; keep one"},
    {"quote_left_open", at_line(3, "output_name: \"x"),
     "c.yaml:3: a quote behind 'output_name' that is not closed on its line; write `output_name: "
     "\"x\"`"},
    {"007_tab", at_line(3, "\tlora_rank: 8"), "c.yaml:3: tab in indentation; use spaces"},
    {"008_latin_1", at_line(2, "output_dir: ./\xE4"),
     "c.yaml:2: byte 0xE4 in column 15 is not UTF-8; save as UTF-8"},
    {"009_nul_byte", at_line(5, std::string("epochs: 3\0", 10)),
     "c.yaml:5: NUL byte, not a text file"},
    {"010_too_large", kHuge, "c.yaml: 104857600 bytes, limit 1048576; is this the data file?"},
    {"011_too_deep", repeated("[", 10'000), "c.yaml:1: nested deeper than 32 levels"},
    {"012_alias_bomb", alias_bomb(),
     "c.yaml:9: aliases expand to more than 10000 nodes; write the values out"},
    {"013_alias_of_itself", at_line(2, "target_modules: &a [*a]"),
     "c.yaml:2: alias 'a' contains itself"},
    {"014_tag", at_line(3, "base_model: !!python/object x"),
     "c.yaml:3: tag '!!python/object' is not supported; use plain values"},
    {"015_leading_zero", at_line(6, "lora_rank: 010"),
     "c.yaml:6: lora_rank '010' has a leading zero; write 8 or 10"},
    {"016_not_an_integer", at_line(6, "lora_rank: eight"),
     "c.yaml:6: lora_rank 'eight' is not an integer (1 to 1024)"},
    {"017_out_of_range", at_line(6, "lora_rank: 0"), "c.yaml:6: lora_rank 0 is outside 1 to 1024"},
    {"018_not_finite", at_line(11, "learning_rate: .nan"),
     "c.yaml:11: learning_rate '.nan' is not a finite number"},
    {"019_too_large_a_number", at_line(11, "learning_rate: 1e400"),
     "c.yaml:11: learning_rate '1e400' is too large for a number"},
    {"020_unknown_optimizer", at_line(13, "optimizer: adamx"),
     "c.yaml:13: optimizer 'adamx'; did you mean 'adamw'? known: adamw, adamw8bit"},
    {"022_batch_does_not_divide", at_line(5, "global_batch_size: 10"),
     "c.yaml:5: global_batch_size 10 is no multiple of batch_size 4; use 8 or 12"},
    {"030_output_name", at_line(20, "output_name: ../x"),
     "c.yaml:20: output_name '../x' may hold letters, digits, '.', '_', '-' only"},

    // Found since, or answers that the contract asks for without giving the line.
    {"not_yaml", at_line(2, "base_model: a: b"),
     "c.yaml:2: not valid YAML (illegal map value); write `key: value`, one key per line at the "
     "left margin; quote "
     "texts with ':' or '#'"},
    {"two_documents", "epochs: 3\n---\nepochs: 4\n",
     "c.yaml:2: a second document starts; keep one set of keys in a file"},
    {"feature_of_later", at_line(2, "enable_bucket: true"),
     "c.yaml:2: enable_bucket true is not available yet (Stable Diffusion training); leave the "
     "key out"},
    {"optimizer_of_later", at_line(2, "optim: adafactor"),
     "c.yaml:2: optim 'adafactor' is not available yet; use adamw or adamw8bit"},
    {"key_of_later", at_line(2, "neftune_noise_alpha: 5"),
     "c.yaml:2: neftune_noise_alpha 5 is not available yet (noise on the embeddings); leave it "
     "out"},
    {"missing_key",
     "output_dir: out\nbase_model: base\n",
     "c.yaml: train_data_dir is missing; add `train_data_dir: ...` (folder (or file) with the "
     "training data)",
     {"validate", "--config-only", "c.yaml"}},
    {"override_unknown",
     "epochs: 3\n",
     "command line: unknown key 'epoch'; did you mean 'epochs'?",
     {"validate", "--config", "c.yaml", "epoch=4"}},
    {"override_wrong",
     "epochs: 3\n",
     "command line: lora_rank 'eight' is not an integer (1 to 1024)",
     {"validate", "--config", "c.yaml", "lora_rank=eight"}},
    {"override_without_value",
     "epochs: 3\n",
     "command line: 'epochs', expected key=value",
     {"validate", "--config", "c.yaml", "epochs"}},
    {"unknown_option",
     "epochs: 3\n",
     "command line: unknown option '--confg'; did you mean '--config'?",
     {"validate", "--confg", "c.yaml"}},
    {"no_config",
     "epochs: 3\n",
     "command line: no config file; write `lora-dist validate FILE`, or see `lora-dist validate "
     "--help`",
     {"validate"}},
    {"command_of_later",
     "epochs: 3\n",
     "command line: `serve` is not available yet; `lora-dist --help` lists what is",
     {"serve", "--base", "x"}},
    {"no_command",
     "epochs: 3\n",
     "command line: no command; write `lora-dist FILE`, or see `lora-dist --help`",
     {}},
};

void set_up(const Exhibit& exhibit, const TempFolder& folder) {
  const std::string path = folder.file("c.yaml");
  if (exhibit.yaml == kFolder)
    std::filesystem::create_directory(path);
  else if (exhibit.yaml != kNoFile)
    folder.write("c.yaml", exhibit.yaml == kHuge ? "" : exhibit.yaml);
  if (exhibit.yaml == kHuge) std::filesystem::resize_file(path, 104'857'600);  // sparse
}

std::vector<std::string> entries_of(const TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    names.push_back(entry.path().filename());
  return names;
}

class ConfigMuseum : public testing::TestWithParam<Exhibit> {};

TEST_P(ConfigMuseum, GetsExactlyThisLineAndExitCode) {
  const TempFolder folder;
  set_up(GetParam(), folder);
  const std::vector<std::string> before = entries_of(folder);
  std::vector<std::string> command = {LORA_DIST_BINARY};
  command.insert(command.end(), GetParam().arguments.begin(), GetParam().arguments.end());

  const ProgramResult result = run_program(command, folder.path());

  EXPECT_EQ(result.standard_error, "error: " + GetParam().line + "\n");
  EXPECT_EQ(result.standard_output, "");
  EXPECT_EQ(result.exit_code, GetParam().exit_code);
  EXPECT_EQ(entries_of(folder), before) << "something was left behind";
}

INSTANTIATE_TEST_SUITE_P(Exhibits, ConfigMuseum, testing::ValuesIn(kExhibits),
                         [](const auto& info) { return info.param.name; });

const std::vector<std::string> kMpirun = {"mpirun", "--oversubscribe", "--allow-run-as-root"};

ProgramResult run_under_mpirun(const std::vector<std::string>& arguments,
                               const TempFolder& folder) {
  std::vector<std::string> command = kMpirun;
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(command, folder.path());
}

int count(const std::string& text, const std::string& part) {
  int times = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++times;
  return times;
}

TEST(ConfigMuseumUnderMpirun, SaysTheLineOnceForThreeRanks) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  folder.write("c.yaml", at_line(7, "lora_rnk: 8"));

  const ProgramResult result =
      run_under_mpirun({"-n", "3", LORA_DIST_BINARY, "validate", "--config", "c.yaml"}, folder);

  const std::string line = "error: c.yaml:7: unknown key 'lora_rnk'; did you mean 'lora_rank'?\n";
  EXPECT_EQ(count(result.standard_error, line), 1) << result.standard_error;
  EXPECT_EQ(count(result.standard_error, "unknown key"), 1) << result.standard_error;
  EXPECT_EQ(result.exit_code, 2);
}

TEST(ConfigMuseumUnderMpirun, HearsOfAFaultThatRankZeroDoesNotHave) {
  if (!is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
  const TempFolder folder;
  folder.write("good.yaml", "base_model: b\ntrain_data_dir: d\noutput_dir: o\n");
  folder.write("c.yaml", at_line(7, "lora_rnk: 8"));

  const ProgramResult result = run_under_mpirun(
      {"-n", "1", LORA_DIST_BINARY, "validate", "--config-only", "good.yaml", ":",  //
       "-n", "1", LORA_DIST_BINARY, "validate", "--config", "c.yaml"},
      folder);

  EXPECT_EQ(count(result.standard_error, "error: [rank 1/2 "), 1) << result.standard_error;
  EXPECT_EQ(count(result.standard_error, "unknown key 'lora_rnk'"), 1) << result.standard_error;
  EXPECT_EQ(result.exit_code, 2);
}

}  // namespace
}  // namespace lora_dist
