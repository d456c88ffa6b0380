// One run, one folder: what a start may do with a folder that is not empty, at one rank and at two.
#include <csignal>
#include <map>

#include "launcher/environments/typed_command.hpp"
#include "tests/resume/small_run.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class RunFolders : public SmallRun {
 protected:
  /// Name to content and time of every file.
  std::map<std::string, std::pair<std::string, fs::file_time_type>> files_of(
      const std::string& output) const {
    std::map<std::string, std::pair<std::string, fs::file_time_type>> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.file(output)))
      if (entry.is_regular_file())
        files[entry.path().string()] = {file_sha256(entry.path()), entry.last_write_time()};
    return files;
  }

  void finish_a_run(const std::string& output, const std::vector<std::string>& more = {}) const {
    const ProgramResult result = train(output, 1, more);
    ASSERT_EQ(result.exit_code, 0) << result.standard_error;
  }

  /// What a kill would have left: no export, and checkpoints up to `last` only.
  void undo_end(const std::string& output, int first_gone, int last_gone) const {
    for (const char* name : {"adapter_model.safetensors", "adapter_config.json",
                             "pytorch_lora_weights.safetensors", "README.md"})
      fs::remove(folder_.file(output + "/" + name));
    for (int number = first_gone; number <= last_gone; ++number)
      fs::remove_all(folder_.file(fmt::format("{}/checkpoint-{}", output, number)));
    nlohmann::json run = run_json(output);
    run["exit"] = "running";
    write_file_atomically(folder_.file(output + "/run.json"), run.dump());
  }

  void expect_refused(const std::string& output, int num_ranks,
                      const std::vector<std::string>& more, const std::string& reason) const {
    const auto before = files_of(output);
    const ProgramResult result = train(output, num_ranks, more);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.standard_error, HasSubstr(reason));
    EXPECT_THAT(result.standard_error, HasSubstr("choose another output_dir"));
    EXPECT_THAT(result.standard_error, HasSubstr("resume"));
    EXPECT_THAT(result.standard_error, HasSubstr("overwrite_output_dir: true"));
    EXPECT_EQ(std::count(result.standard_error.begin(), result.standard_error.end(), '\n'), 1)
        << result.standard_error;
    EXPECT_TRUE(files_of(output) == before) << "something was changed";
  }
};

TEST_F(RunFolders, AFinishedRunSaysSoAndNoFileChanges) {
  finish_a_run("out");
  const auto before = files_of("out");
  for (const int num_ranks : {1, 2}) {
    const ProgramResult result = train("out", num_ranks);
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    EXPECT_THAT(result.standard_error, HasSubstr("this run is finished"));
    EXPECT_THAT(result.standard_output, testing::StartsWith("adapter out  loss "));
    EXPECT_THAT(result.standard_output, HasSubstr("steps 8"));
    EXPECT_TRUE(files_of("out") == before) << num_ranks << " ranks";
  }
}

TEST_F(RunFolders, AnotherRunIsRefusedInOneLineWithTheWaysOn) {
  finish_a_run("out");
  write_records("more.jsonl", 30);
  expect_refused("out", 1, {"learning_rate=1e-3"}, "learning_rate 0.003, this run asks for 0.001");
  expect_refused("out", 1, {"alpha_pattern={q_proj: 4}"}, "alpha_pattern");
  expect_refused("out", 2, {"train_data_dir=more.jsonl"}, "trained on other data than these");
  expect_refused("out", 2, {"resume_from_checkpoint=false"}, "adapter_model.safetensors");
  expect_refused("out", 1, {"max_steps=16"}, "max_steps 8, this run asks for 16");
}

TEST_F(RunFolders, WhatNoRunOfOursHasLeftIsRefusedAndDataOfTheUserIsNot) {
  folder_.write("peft/adapter_config.json", "{}");
  expect_refused("peft", 1, {}, "adapter_config.json");
  folder_.write("trainer/checkpoint-20/optimizer.pt", "x");
  expect_refused("trainer", 1, {}, "checkpoint-20");
  folder_.write("data/notes.txt", "mine");
  folder_.write("data/logs/rank-0.log", "of a start that failed");
  finish_a_run("data");
  EXPECT_EQ(read_file(folder_.file("data/notes.txt")), "mine");
}

TEST_F(RunFolders, AReadmeOfTheUserStaysAndTheCardGoesBesideIt) {
  folder_.write("out/README.md", "# mine\n");
  for (const int num_ranks : {1, 2}) {
    const ProgramResult result = train("out", num_ranks, {"overwrite_output_dir=true"});
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    EXPECT_THAT(result.standard_error, HasSubstr("out/README.md: not a model card of a run"));
    EXPECT_EQ(read_file(folder_.file("out/README.md")), "# mine\n");
    EXPECT_THAT(read_file(folder_.file("out/MODEL_CARD.md")), HasSubstr("base_model"));
  }
  folder_.write("cards/README.md", "# mine\n");
  folder_.write("cards/MODEL_CARD.md", "# mine too\n");
  expect_refused("cards", 1, {}, "MODEL_CARD.md");
}

TEST_F(RunFolders, WhatCannotBeResumedIsNotSaidToBe) {
  folder_.write("out/adapter_config.json", "{}");
  EXPECT_THAT(train("out", 1).standard_error, Not(HasSubstr("resume_from_checkpoint")));
  folder_.write("out/checkpoint-20/adapter_config.json", "{}");
  folder_.write("out/checkpoint-20/adapter_model.safetensors", "x");
  EXPECT_THAT(train("out", 1).standard_error,
              HasSubstr("resume_from_checkpoint: out/checkpoint-20"));
}

TEST_F(RunFolders, TheCommandThatWasTypedIsInTheRecord) {
  for (const int num_ranks : {1, 2}) {
    const std::string output = fmt::format("out {}", num_ranks);
    const ProgramResult result = train(output, num_ranks);
    ASSERT_EQ(result.exit_code, 0) << result.standard_error;
    EXPECT_EQ(run_json(output).at("command"), shell_text(command(output, num_ranks)));
  }
}

TEST_F(RunFolders, OverwritingRemovesTheOldRunAndNothingElse) {
  finish_a_run("out");
  const std::string old_run = run_json("out").at("run_id");
  folder_.write("out/notes.txt", "mine");
  folder_.write("out/README.md", "# mine\n");
  folder_.write("out/checkpoint-4/notes.txt", "of step 4");
  folder_.write("out/checkpoint-8/scores/old.json", "of step 8");
  folder_.write("out/generation-1/run.json", "{}");
  folder_.write("out/generation-1/notes.txt", "of the first");
  folder_.write("out/generation-2/metrics.jsonl", "{}");
  folder_.write("out/generation-ideas/run.json", "mine");
  const ProgramResult result =
      train("out", 2, {"overwrite_output_dir=true", "lora_rank=4", "max_steps=4"});
  EXPECT_EQ(result.exit_code, 0) << result.standard_error;
  EXPECT_NE(run_json("out").at("run_id"), old_run);
  EXPECT_FALSE(fs::exists(folder_.file("out/checkpoint-6")));
  EXPECT_FALSE(fs::exists(folder_.file("out/checkpoint-8/manifest.json")));
  EXPECT_EQ(read_file(folder_.file("out/checkpoint-8/scores/old.json")), "of step 8");
  EXPECT_THAT(result.standard_error, HasSubstr("out/checkpoint-8/: its checkpoint is removed"));
  EXPECT_TRUE(fs::exists(folder_.file("out/checkpoint-4/manifest.json")));
  EXPECT_EQ(read_file(folder_.file("out/checkpoint-4/notes.txt")), "of step 4");
  EXPECT_FALSE(fs::exists(folder_.file("out/generation-1/run.json")));
  EXPECT_EQ(read_file(folder_.file("out/generation-1/notes.txt")), "of the first");
  EXPECT_FALSE(fs::exists(folder_.file("out/generation-2")));
  EXPECT_EQ(read_file(folder_.file("out/generation-ideas/run.json")), "mine");
  EXPECT_EQ(read_file(folder_.file("out/notes.txt")), "mine");
  EXPECT_EQ(read_file(folder_.file("out/README.md")), "# mine\n");
  EXPECT_THAT(read_file(folder_.file("out/adapter_config.json")), HasSubstr("\"r\": 4"));
}

TEST_F(RunFolders, TheSameCommandGoesOnAfterAKillAtAnyPoint) {
  finish_a_run("out");
  const nlohmann::json whole = run_json("out");
  for (const int num_ranks : {1, 2}) {
    for (const int first_gone : {1, 5}) {  // before the first checkpoint, and in the middle
      undo_end("out", first_gone, kNumSteps);
      const ProgramResult result = train("out", num_ranks);
      EXPECT_EQ(adapter_sha256("out", result), whole.at("adapter_sha256")) << num_ranks;
      EXPECT_EQ(run_json("out").at("run_id"), whole.at("run_id"));
    }
  }
}

TEST_F(RunFolders, ARunThatCommittedNothingMakesRoomAndItsReportsAreKept) {
  finish_a_run("out");
  undo_end("out", 1, kNumSteps);
  const std::string metrics = read_file(folder_.file("out/metrics.jsonl"));
  const ProgramResult result = train("out", 1, {"learning_rate=1e-3"});
  EXPECT_EQ(result.exit_code, 0) << result.standard_error;
  EXPECT_EQ(read_file(folder_.file("out/generation-1/metrics.jsonl")), metrics);
  EXPECT_EQ(run_json("out").at("generation"), 2);
}

TEST_F(RunFolders, ANamedCheckpointWithOtherDataBeginsAGenerationThatGoesOnByItself) {
  finish_a_run("out");
  const nlohmann::json first = run_json("out");
  const auto old_checkpoint = files_of("out/checkpoint-4");
  write_records("more.jsonl", 30);
  const std::vector<std::string> again = {"train_data_dir=more.jsonl",
                                          "resume_from_checkpoint=./out/checkpoint-4",
                                          "learning_rate=1e-3", "save_total_limit=2"};
  for (const int num_ranks : {1, 2}) {
    const ProgramResult result = train("out", num_ranks, again);
    EXPECT_EQ(result.exit_code, 0) << result.standard_error;
    const nlohmann::json second = run_json("out");
    EXPECT_NE(second.at("run_id"), first.at("run_id"));
    EXPECT_EQ(second.at("generation"), 2);
    EXPECT_EQ(second.at("lineage").at(0).at("run_id"), first.at("run_id"));
    EXPECT_EQ(second.at("lineage").at(0).at("step"), 4);
    EXPECT_TRUE(files_of("out/checkpoint-4") == old_checkpoint) << "old checkpoints stay";
    for (const int number : {2, 4, 6, 8, 14, 16})
      EXPECT_TRUE(fs::exists(folder_.file(fmt::format("out/checkpoint-{}", number)))) << number;
    EXPECT_FALSE(fs::exists(folder_.file("out/checkpoint-12"))) << "rotated by its own limit";
    EXPECT_TRUE(fs::exists(folder_.file("out/generation-1/adapter_model.safetensors")));

    undo_end("out", 15, 16);  // killed behind its third checkpoint
    const ProgramResult resumed = train("out", 3 - num_ranks, again);
    EXPECT_EQ(adapter_sha256("out", resumed), second.at("adapter_sha256"));
    EXPECT_EQ(run_json("out").at("run_id"), second.at("run_id"));
    undo_end("out", 9, 16);  // killed before its first: begins again where it began
  }
}

TEST_F(RunFolders, AnAllowedChangeIsTrainedWithAndNeverExportsTheOldAdapter) {
  finish_a_run("out");
  const nlohmann::json first = run_json("out");
  const ProgramResult idle =
      train("out", 1, {"--allow-change", "lora_dropout", "lora_dropout=0.3"});
  EXPECT_EQ(idle.exit_code, 2);
  EXPECT_THAT(idle.standard_error, HasSubstr("has 8 steps done, expected fewer than the 8"));
  EXPECT_EQ(run_json("out"), first);
  const ProgramResult result = train("out", 1,
                                     {"--allow-change", "lora_dropout", "lora_dropout=0.3",
                                      "resume_from_checkpoint=out/checkpoint-4"});
  EXPECT_NE(adapter_sha256("out", result), first.at("adapter_sha256"));
  EXPECT_EQ(run_json("out").at("steps"), kNumSteps);
  EXPECT_EQ(run_json("out").at("lineage").at(0).at("exact"), true);
}

TEST_F(RunFolders, AConstantLearningRateGoesOnToMoreStepsBitForBit) {
  finish_a_run("long", {"scheduler=constant", "max_steps=12"});
  finish_a_run("out", {"scheduler=constant"});
  const ProgramResult result = train("out", 1, {"scheduler=constant", "max_steps=12"});
  EXPECT_EQ(adapter_sha256("out", result), run_json("long").at("adapter_sha256"));
  const ProgramResult shorter = train("out", 1, {"scheduler=constant", "max_steps=4"});
  EXPECT_EQ(shorter.exit_code, 2) << shorter.standard_error;
}

TEST_F(RunFolders, AnotherNumberOfRanksKeepsTheGlobalBatchOfTheRun) {
  const std::vector<std::string> derived = {"global_batch_size="};
  const ProgramResult whole = train("out", 2, derived);
  const std::string expected = adapter_sha256("out", whole);
  undo_end("out", 5, kNumSteps);
  const ProgramResult resumed = train("out", 1, derived);
  EXPECT_EQ(adapter_sha256("out", resumed), expected);
  EXPECT_THAT(resumed.standard_error, HasSubstr("4 samples per step that it began with"));
}

TEST_F(RunFolders, ASecondLiveRunLeavesWithNineAndADeadOneIsTakenOverAtOnce) {
  RunningProgram first(command("out", 1, {"max_steps=100000", "save_steps=0"}), folder_.path());
  await_file("out/run.json");
  const nlohmann::json holder =
      nlohmann::json::parse(read_file(folder_.file("out/.lora-dist.lock")));
  for (const int num_ranks : {1, 2}) {
    const ProgramResult second = train("out", num_ranks, {"seed=2"});
    EXPECT_EQ(second.exit_code, 9) << second.standard_error;
    EXPECT_EQ(second.standard_error,
              fmt::format("error: out/: held by run {} (host {}, process {}, started {}), which is "
                          "alive, expected one run per folder; wait until it ends, stop it, or "
                          "choose another output_dir\n",
                          run_json("out").at("run_id").get<std::string>(),
                          holder.at("host").get<std::string>(), holder.at("pid").get<int64_t>(),
                          holder.at("started").get<std::string>()));
  }
  first.send(SIGKILL);
  first.wait();
  const ProgramResult next = train("out", 2, {"overwrite_output_dir=true"});
  EXPECT_EQ(next.exit_code, 0) << next.standard_error;
  EXPECT_THAT(next.standard_error, HasSubstr("took over from run"));
  EXPECT_FALSE(fs::exists(folder_.file("out/.lora-dist.lock")));
}

TEST_F(RunFolders, ARunWhoseLeaseWasTakenLeavesWithNine) {
  for (const int num_ranks : {1, 2}) {
    const std::string output = fmt::format("out-{}", num_ranks);
    RunningProgram run(command(output, num_ranks, {"max_steps=100000", "save_steps=20"}),
                       folder_.path());
    await_checkpoint(output, 20);
    nlohmann::json lease =
        nlohmann::json::parse(read_file(folder_.file(output + "/.lora-dist.lock")));
    lease["host"] = "h2";
    lease["nonce"] = "0011223344556677";
    write_file_atomically(folder_.file(output + "/.lora-dist.lock"), lease.dump());
    const ProgramResult result = run.wait();
    EXPECT_EQ(result.exit_code, 9) << result.standard_error;
    EXPECT_THAT(result.standard_error, HasSubstr("was taken over by run"));
    EXPECT_THAT(result.standard_error, HasSubstr("(host h2, "));
    EXPECT_TRUE(fs::exists(folder_.file(output + "/.lora-dist.lock"))) << "it is the other's";
  }
}

TEST_F(RunFolders, TwoPreparationsOfOneFolderEndWithTheSameParts) {
  write_records("train.jsonl", 600);
  const std::vector<std::string> prepare = {LORA_DIST_BINARY, "prepare", "--config", "config.yaml",
                                            "output_dir=out"};
  RunningProgram a(prepare, folder_.path()), b(prepare, folder_.path());
  const ProgramResult first = a.wait(), second = b.wait();
  EXPECT_EQ(first.exit_code, 0) << first.standard_error;
  EXPECT_EQ(second.exit_code, 0) << second.standard_error;
  EXPECT_EQ(first.standard_output, second.standard_output);
  int num_files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.file("out/prepared")))
    num_files += entry.is_regular_file();
  EXPECT_EQ(num_files, 2) << "one part and its manifest, no leftovers";
}

}  // namespace
}  // namespace lora_dist
