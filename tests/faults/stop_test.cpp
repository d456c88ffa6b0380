// Requests to stop, as a terminal, a shell and a scheduler make them.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "data/io/files.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class StopRequest : public testing::Test {
 protected:
  void SetUp() override {
    std::string records;
    for (int i = 0; i < 40; ++i)
      records +=
          fmt::format(R"({{"instruction": "count {0}", "output": "here is {0}"}})", i) + "\n";
    folder_.write("data/train.jsonl", records);
    folder_.write("c.yaml", fmt::format("base_model: {}/examples/base-tiny\n"
                                        "train_data_dir: data\noutput_dir: out\nepochs: 100000\n"
                                        "batch_size: 2\nlogging_steps: 1\nthreads_per_rank: 1\n",
                                        LORA_DIST_SOURCE_DIR));
  }

  std::vector<std::string> command(int num_ranks) const {
    std::vector<std::string> words = {LORA_DIST_BINARY, "--config", "c.yaml"};
    if (num_ranks > 1) words.insert(words.end(), {"--ranks", std::to_string(num_ranks)});
    return words;
  }

  /// Returns once a step was trained.
  void wait_for_a_step() const {
    const std::string metrics = folder_.file("out/metrics.jsonl");
    std::error_code ignored;
    while (!fs::exists(metrics) || fs::file_size(metrics, ignored) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  bool has_checkpoint() const {
    return std::ranges::any_of(fs::directory_iterator(folder_.file("out")), [](const auto& entry) {
      return entry.path().filename().string().starts_with("checkpoint-");
    });
  }

  /// Names with which files are written before they are renamed, and the lease.
  std::vector<std::string> left_behind() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename().string();
      if (name.find(".tmp-") != std::string::npos || name.ends_with(".lock")) names.push_back(name);
    }
    return names;
  }

  TempFolder folder_;
};

TEST_F(StopRequest, SavesAndLeavesWithOneCodeForEachWayOfAsking) {
  for (const int num_ranks : {1, 2}) {
    if (num_ranks > 1 && !is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
    for (const auto& [signal, code] :
         {std::pair{SIGINT, 130}, {SIGTERM, 75}, {SIGUSR1, 75}, {SIGHUP, 75}}) {
      fs::remove_all(folder_.file("out"));
      RunningProgram run(command(num_ranks), folder_.path());
      wait_for_a_step();
      run.send(signal);
      const ProgramResult result = run.wait();
      EXPECT_EQ(result.exit_code, code) << result.standard_error;
      EXPECT_THAT(result.standard_error, HasSubstr("stopped on request at step"));
      EXPECT_THAT(result.standard_error, Not(HasSubstr("error: ")));
      EXPECT_THAT(result.standard_error, Not(HasSubstr("-----")));
      EXPECT_TRUE(has_checkpoint());
      EXPECT_THAT(left_behind(), testing::IsEmpty());
    }
  }
}

TEST_F(StopRequest, HasTheSameCodeWhenCtrlCIsPressedTwice) {
  for (const int num_ranks : {1, 2}) {
    if (num_ranks > 1 && !is_installed("mpirun")) GTEST_SKIP() << "mpirun is not installed";
    fs::remove_all(folder_.file("out"));
    RunningProgram run(command(num_ranks), folder_.path());
    wait_for_a_step();
    run.send(SIGINT);
    run.send(SIGINT);
    const ProgramResult result = run.wait();
    EXPECT_EQ(result.exit_code, 130) << result.standard_error;
    EXPECT_THAT(result.standard_error, HasSubstr("stopped on request"));
    EXPECT_THAT(result.standard_error, Not(HasSubstr("error: ")));
    EXPECT_THAT(left_behind(), testing::IsEmpty());
  }
}

// A config that comes through a pipe holds the program where it waits for it.
TEST_F(StopRequest, EndsARunThatHasNotBegunAtOnce) {
  const std::string pipe = folder_.file("pipe.yaml");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, {SIGTERM, 75}}) {
    RunningProgram run({LORA_DIST_BINARY, "--config", pipe}, folder_.path());
    const int writer = open(pipe.c_str(), O_WRONLY);  // returns when it reads
    run.send(signal);
    const ProgramResult result = run.wait();
    close(writer);
    EXPECT_EQ(result.exit_code, code);
    EXPECT_EQ(result.standard_error, "stopped on request; nothing was trained\n");
    EXPECT_FALSE(fs::exists(folder_.file("out")));
  }
}

TEST_F(StopRequest, LetsNohupKeepTheRun) {
  RunningProgram run({"nohup", LORA_DIST_BINARY, "--config", "c.yaml"}, folder_.path());
  wait_for_a_step();
  run.send(SIGHUP);
  run.send(SIGTERM);
  EXPECT_THAT(run.wait().standard_error, HasSubstr("stopped on request at step"));
}

}  // namespace
}  // namespace lora_dist
