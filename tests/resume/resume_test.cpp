// A run that was interrupted and went on ends with the bits of one that was not, whatever the
// number of ranks.
#include <csignal>
#include <filesystem>

#include "tests/resume/small_run.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

using Resume = SmallRun;

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
