// A run that was interrupted and went on ends with the bits of one that was not, whatever the
// number of ranks.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

constexpr int kNumSteps = 8;

/// Runs of the shipped base on its first records, each into a folder of its own.
class Resume : public testing::Test {
 protected:
  Resume() {
    std::ifstream source(kSource + "/examples/quickstart/train.jsonl");
    std::string records, line;
    for (int i = 0; i < 24 && std::getline(source, line); ++i) records += line + "\n";
    folder_.write("train.jsonl", records);
    folder_.write("config.yaml", fmt::format("base_model: {}/examples/base-tiny\n"
                                             "train_data_dir: train.jsonl\n"
                                             "target_modules: [q_proj, v_proj]\n"
                                             "lora_dropout: 0.1\n"
                                             "batch_size: 2\n"
                                             "global_batch_size: 8\n"
                                             "max_steps: {}\n"
                                             "save_steps: 2\n"
                                             "save_total_limit: 0\n"
                                             "learning_rate: 3e-3\n",
                                             kSource, kNumSteps));
  }

  std::vector<std::string> command(const std::string& output, int num_ranks,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {LORA_DIST_BINARY, "train", "--config", "config.yaml",
                                      "output_dir=" + output};
    if (num_ranks > 1) words.insert(words.end(), {"--ranks", std::to_string(num_ranks)});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  ProgramResult train(const std::string& output, int num_ranks,
                      const std::vector<std::string>& more = {}) const {
    return run_program(command(output, num_ranks, more), folder_.path());
  }

  /// Of a run that ended well; "" and a failure of the test otherwise.
  std::string adapter_sha256(const std::string& output, const ProgramResult& result) const {
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    const std::string run = folder_.file(output + "/run.json");
    if (!fs::exists(run)) return "";
    return nlohmann::json::parse(read_file(run)).at("adapter_sha256");
  }

  /// Waits until a checkpoint of that step is committed.
  void await_checkpoint(const std::string& output, int step) const {
    const std::string manifest =
        folder_.file(fmt::format("{}/checkpoint-{}/manifest.json", output, step));
    for (int tenths = 0; tenths < 600 && !fs::exists(manifest); ++tenths)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(fs::exists(manifest));
  }

  static inline const std::string kSource = LORA_DIST_SOURCE_DIR;
  TempFolder folder_;
};

TEST_F(Resume, FromACheckpointGivesTheBitsOfTheRunThatWentThroughAtAnyNumberOfRanks) {
  const std::string expected = adapter_sha256("whole", train("whole", 1));
  ASSERT_FALSE(expected.empty());
  for (const int num_ranks : {1, 2, 3}) {
    const std::string output = fmt::format("resumed-{}", num_ranks);
    const ProgramResult result =
        train(output, num_ranks, {"resume_from_checkpoint=whole/checkpoint-4"});
    EXPECT_EQ(adapter_sha256(output, result), expected) << num_ranks << " ranks";
  }
}

TEST_F(Resume, AfterAStopRequestAndAfterAKillGivesTheBitsOfTheRunThatWentThrough) {
  const std::string expected = adapter_sha256("whole", train("whole", 1));
  ASSERT_FALSE(expected.empty());
  for (const int signal : {SIGUSR1, SIGKILL}) {
    const std::string output = fmt::format("signal-{}", signal);
    // Eight steps may be over before the signal arrives; then it is a resume of a finished run.
    RunningProgram running(command(output, 1), folder_.path());
    await_checkpoint(output, 2);
    running.send(signal);
    const int exit_code = running.wait().exit_code;
    EXPECT_TRUE(exit_code == 0 || exit_code == (signal == SIGUSR1 ? kExitStopped : 128 + SIGKILL))
        << exit_code;
    const ProgramResult result = train(output, 2, {"resume_from_checkpoint=auto"});
    EXPECT_EQ(adapter_sha256(output, result), expected) << "signal " << signal;
  }
}

TEST_F(Resume, RefusesOtherMathematicsAndNamesTheKey) {
  ASSERT_EQ(train("run", 1).exit_code, 0);
  const ProgramResult result =
      train("run", 1, {"resume_from_checkpoint=run/checkpoint-4", "lora_dropout=0.2"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.standard_error,
            "error: run/checkpoint-4: lora_dropout 0.1, this run asks for 0.2; set 0.1 again, pass "
            "--allow-change lora_dropout, or choose another output_dir\n");
}

TEST_F(Resume, StartsANewScheduleFromAnAdapterWithoutOptimizerState) {
  ASSERT_EQ(train("first", 1).exit_code, 0);
  fs::create_directory(folder_.file("bare"));
  for (const char* name : {"adapter_model.safetensors", "adapter_config.json"})
    fs::copy(folder_.file(std::string("first/") + name), folder_.file(std::string("bare/") + name));
  const ProgramResult result = train("second", 1, {"resume_from_checkpoint=bare"});
  EXPECT_EQ(result.exit_code, 0) << result.standard_error;
  EXPECT_NE(result.standard_error.find("an adapter without optimizer state"), std::string::npos)
      << result.standard_error;
  EXPECT_TRUE(fs::exists(folder_.file("second/checkpoint-2"))) << "counted from step 0";
}

}  // namespace
}  // namespace lora_dist
