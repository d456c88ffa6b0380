#include "launcher/command_line.hpp"

#include <new>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/failure.hpp"
#include "launcher/help/help_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SplitCommandLine, TakesTheFirstWordAsCommand) {
  const CommandLine line = split_command_line({"validate", "--config", "c.yaml"});
  EXPECT_EQ(line.command, "validate");
  EXPECT_THAT(line.arguments, ElementsAre("--config", "c.yaml"));
}

TEST(SplitCommandLine, TrainsWhenAnOptionOrAnOverrideComesFirst) {
  EXPECT_EQ(split_command_line({"--config", "c.yaml"}).command, "train");
  EXPECT_THAT(split_command_line({"epochs=3", "--config", "c.yaml"}).arguments,
              ElementsAre("epochs=3", "--config", "c.yaml"));
}

TEST(SplitCommandLine, TrainsWhenAConfigFileComesFirst) {
  EXPECT_EQ(split_command_line({"my.yaml"}).command, "train");
  EXPECT_THAT(split_command_line({"configs/my.yml", "epochs=3"}).arguments,
              ElementsAre("configs/my.yml", "epochs=3"));
  EXPECT_EQ(split_command_line({"validate", "my.yaml"}).command, "validate");
  EXPECT_EQ(split_command_line({"trian"}).command, "trian");
}

TEST(SplitCommandLine, TakesOptionsOfTheProgramForCommands) {
  EXPECT_EQ(split_command_line({"--help"}).command, "help");
  EXPECT_EQ(split_command_line({"-V"}).command, "version");
  EXPECT_EQ(split_command_line({}).command, "");
}

TEST(ConfigOptions, TakeAFileWithTheOptionAndWithoutIt) {
  const TempFolder folder;
  const std::string first = folder.write("a.yaml", "epochs: 5\nlora_rank: 4");
  const std::string second = folder.write("b.conf", "epochs: 6");
  const std::vector<std::vector<std::string>> ways = {
      {first, second, "lora_dropout=0.5"},
      {"lora_dropout=0.5", first, second},
      {"--config", first, "--config", second, "lora_dropout=0.5"},
      {"--config", first, second, "lora_dropout=0.5"}};
  for (const std::vector<std::string>& way : ways) {
    CLI::App app("", "lora-dist train");
    ConfigOptions options;
    options.declare(app);
    std::vector<std::string> arguments(way.rbegin(), way.rend());
    app.parse(arguments);
    const Config config = options.read();
    EXPECT_EQ(config.steps.epochs, 6);
    EXPECT_EQ(config.adapter.lora_rank, 4);
    EXPECT_EQ(config.adapter.lora_dropout, 0.5);
  }
}

std::string usage_error_of(const std::vector<std::string>& arguments) {
  try {
    run_command_line(arguments);
    return "(no error)";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(RunCommandLine, ShowsTheBoundThatANumberBreaks) {
  EXPECT_EQ(usage_error_of({"plan", "x.yaml", "--ranks", "0"}),
            "command line: --ranks '0', expected a number above 0");
  EXPECT_EQ(usage_error_of({"plan", "x.yaml", "--ranks", "1.5"}),
            "command line: --ranks '1.5', expected a whole number");
  EXPECT_EQ(usage_error_of({"evaluate", "--base", "x", "--data", "y", "--batch-size", "two"}),
            "command line: --batch-size 'two', expected a whole number");
}

TEST(RunCommandLine, ShowsHowRanksAreAskedFor) {
  for (const std::string value : {"2.5", "x", "0", "-1", "99999999999"})
    EXPECT_EQ(usage_error_of({"train", "x.yaml", "--ranks", value}),
              fmt::format("command line: --ranks '{}', expected a whole number of processes, as "
                          "--ranks 2; without it one process trains",
                          value));
}

TEST(RunCommandLine, SaysEachMisuseOfAnOptionInALine) {
  EXPECT_EQ(
      usage_error_of({"inspect"}),
      "command line: PATH is missing; write `lora-dist inspect PATH`, or see `lora-dist inspect "
      "--help`");
  EXPECT_EQ(usage_error_of({"inspect", "a", "b"}),
            "command line: 'b' is not expected here; see `lora-dist inspect --help`");
  EXPECT_EQ(usage_error_of({"inspect", "a", "--nonsense"}),
            "command line: unknown option '--nonsense'; see `lora-dist inspect --help`");
  EXPECT_THAT(
      usage_error_of({"merge", "--adapter", "a"}),
      testing::StartsWith("command line: --base is missing; write `lora-dist merge --base "));
  EXPECT_EQ(usage_error_of({"tokenize", "--base"}),
            "command line: --base has no value; write `--base TEXT`");
  EXPECT_EQ(usage_error_of({"tokenize", "--base", "a", "--base", "b", "--text", "t"}),
            "command line: --base stands 2 times; keep one of them");
  EXPECT_EQ(usage_error_of({"tokenize", "--base", "a"}),
            "command line: no input; write --file FILE for data, or --text \"...\"");
  EXPECT_EQ(usage_error_of({"tokenize", "--base", "a", "--text", "t", "--file", "f"}),
            "command line: --text and --file together; keep one of them");
  EXPECT_EQ(usage_error_of({"tokenize", "--base", "a", "--text", "t", "--count", "-1"}),
            "command line: --count '-1', expected a number of at least 0");
  EXPECT_EQ(usage_error_of({"validate", "--data", "--config-only", "x.yaml"}),
            "command line: --data and --config-only exclude each other; keep one of them");
}

TEST(RunCommandLine, SaysWhatStandsWhereAConfigShould) {
  const TempFolder folder;
  folder.write("base/config.json", "{}");
  folder.write("run/run.json", "{}");
  folder.write("configs/law.yaml", "epochs: 1");
  const std::string data = folder.write("data/train.jsonl", "{}");
  const auto error_of = [&](const char* name) {
    return usage_error_of({"validate", folder.file(name)});
  };
  EXPECT_THAT(error_of("base"), HasSubstr("base/: a base model, expected a YAML file; name it as "
                                          "base_model in a config; `lora-dist inspect "));
  EXPECT_THAT(error_of("run"), HasSubstr("run/config.resolved.yaml"));
  EXPECT_THAT(error_of("configs"),
              HasSubstr("; write `lora-dist validate " + folder.file("configs/law.yaml") + "`"));
  EXPECT_THAT(error_of("data"), HasSubstr("if it holds data, name it as train_data_dir"));
  EXPECT_THAT(error_of("data/train.jsonl"),
              HasSubstr("no config, by its name, expected a YAML file"));
  EXPECT_THAT(error_of("nowhere"),
              HasSubstr("nowhere: no such file; write `lora-dist validate FILE`"));
  EXPECT_THAT(usage_error_of({folder.file("data")}), HasSubstr("data/: a folder, expected a YAML"));
}

TEST(RunCommandLine, NamesTheNearestCommand) {
  try {
    run_command_line({"validte"});
    FAIL() << "an unknown command was accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("unknown command 'validte'; did you mean 'validate'? known: "));
  }
}

TEST(ProgramHelp, ListsEveryCommand) {
  for (const std::string_view name : commands().names())
    EXPECT_THAT(program_help(), HasSubstr("\n  " + std::string(name) + " "));
}

TEST(EveryCommand, HasItsOwnHelp) {
  for (const std::string_view name : commands().names()) {
    testing::internal::CaptureStdout();
    const int exit_code = run_command_line({std::string(name), "--help"});
    const std::string help = testing::internal::GetCapturedStdout();
    EXPECT_EQ(exit_code, 0) << name;
    EXPECT_THAT(help, HasSubstr("Usage: lora-dist " + std::string(name)));
  }
}

TEST(EveryCommand, RefusesAnOptionThatNobodyKnows) {
  for (const std::string_view name : commands().names())
    EXPECT_THROW(run_command_line({std::string(name), "--no-such-option"}), ConfigError) << name;
}

template <class Exception>
Failure failure_of(const Exception& exception) {
  return describe_failure(std::make_exception_ptr(exception));
}

TEST(DescribeFailure, GivesEachKindItsExitCode) {
  const Fault fault{.where = "here", .found = "this", .expected = "that", .fix = "do it"};
  EXPECT_EQ(failure_of(ConfigError(fault)).exit_code, 2);
  EXPECT_EQ(failure_of(DataError(fault)).exit_code, 3);
  EXPECT_EQ(failure_of(ModelError(fault)).exit_code, 4);
  EXPECT_EQ(failure_of(StorageError(fault)).exit_code, 5);
  EXPECT_EQ(failure_of(MemoryError(fault)).exit_code, 6);
  EXPECT_EQ(failure_of(CommError(fault)).exit_code, 7);
  EXPECT_EQ(failure_of(NumericsError(fault)).exit_code, 8);
  EXPECT_EQ(failure_of(LockedError(fault)).exit_code, 9);
  EXPECT_EQ(failure_of(ConfigError(fault)).text, "here: this, expected that; do it");
}

TEST(DescribeFailure, TakesEveryLackOfMemoryForSix) {
  EXPECT_EQ(failure_of(std::bad_alloc()).exit_code, 6);
  // What LibTorch's host allocator really throws; nothing has 2^60 bytes.
  try {
    at::empty({int64_t{1} << 60}, at::kByte);
    FAIL() << "2^60 bytes were allocated";
  } catch (...) {
    EXPECT_EQ(describe_failure(std::current_exception()).exit_code, 6);
  }
}

TEST(DescribeFailure, AsksForAReportWhenTheFaultIsOurs) {
  const Failure failure = failure_of(std::logic_error("slot 7 is missing\nframe #0"));
  EXPECT_EQ(failure.exit_code, 134);
  EXPECT_EQ(failure.text, "internal error: slot 7 is missing; please report this");
}

}  // namespace
}  // namespace lora_dist
