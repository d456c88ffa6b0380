// Help, manual page and completion name every command, option and key.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/columns.hpp"
#include "core/base/error.hpp"
#include "core/config/aliases.hpp"
#include "core/config/config.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/help/command_facts.hpp"
#include "launcher/help/help_text.hpp"
#include "tests/support/program.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::HasSubstr;

/// `text` as roff writes it.
std::string in_roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '-' ? std::string("\\-") : std::string(1, c);
  return escaped;
}

size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  size_t longest = 0;
  while (std::getline(lines, line)) longest = std::max(longest, line.size());
  return longest;
}

TEST(Help, StaysInsideTheColumns) {
  EXPECT_LE(longest_line(program_help()), kHelpColumns);
  EXPECT_LE(longest_line(help_about("keys")), kHelpColumns);
  for (const CommandFacts& command : command_facts())
    EXPECT_LE(longest_line(help_about(command.name)), kHelpColumns) << command.name;
  for (const KeyFacts& key : config_keys())
    EXPECT_LE(longest_line(help_about(key.key)), kHelpColumns) << key.key;
}

TEST(Help, TellsOfOneKeyAlsoUnderTheNameOfAnotherTool) {
  EXPECT_THAT(help_about("lora_rank"), HasSubstr("allowed    1 to 1024\n"));
  EXPECT_THAT(help_about("per_device_train_batch_size"),
              HasSubstr("per_device_train_batch_size is an alias of batch_size."));
  EXPECT_THROW(help_about("lora_rnk"), ConfigError);
}

TEST(Help, KnowsEveryNameOfOtherTrainers) {
  for (const config::ForeignKey& key : config::foreign_keys()) {
    std::string name(key.theirs);
    if (name.ends_with('*')) name.replace(name.size() - 1, 1, "some");
    EXPECT_THAT(help_about(name), HasSubstr(name + " of other trainers")) << name;
    EXPECT_LE(longest_line(help_about(name)), kHelpColumns) << name;
  }
  for (const config::KeyAlias& alias : config::key_aliases())
    EXPECT_THAT(help_about(std::string(alias.theirs)), HasSubstr(std::string(alias.theirs)));
  EXPECT_THAT(help_about("deepspeed"), HasSubstr("ignored"));
  EXPECT_THAT(help_about("wandb"), HasSubstr("sent to a service"));
  EXPECT_THAT(help_about("push_to_hub"), HasSubstr("not available yet"));
  EXPECT_THAT(help_about("cosine"), HasSubstr("`lora-dist help scheduler`"));
  EXPECT_THAT(help_about("datasets"), HasSubstr("train_data_dir"));
}

TEST(Help, ListsAnOptionOnce) {
  const std::string page = help_about("tokenize");  // whose input is a group of options
  EXPECT_EQ(page.find("--help"), page.rfind("--help"));
}

TEST(Help, ListsEveryOptionOfACommand) {
  for (const CommandFacts& command : command_facts())
    for (const OptionFacts& option : command.options)
      EXPECT_THAT(help_about(command.name), HasSubstr(spelled_out(option)));
}

TEST(ManPage, HasEveryCommandOptionAndKey) {
  const std::string page = man_page();
  for (const CommandFacts& command : command_facts()) {
    EXPECT_THAT(page, HasSubstr("\n.SS " + in_roff(command.name) + "\n"));
    for (const OptionFacts& option : command.options)
      EXPECT_THAT(page, HasSubstr("\n.B " + in_roff(spelled_out(option)) + "\n"));
  }
  for (const KeyFacts& key : config_keys())
    EXPECT_THAT(page, HasSubstr("\n.B " + in_roff(key.key) + "\n"));
}

TEST(ManPage, IsAcceptedByGroff) {
  if (!is_installed("groff")) GTEST_SKIP() << "groff is not installed";
  const TempFolder folder;
  folder.write("lora-dist.1", man_page());
  const ProgramResult result =
      run_program({"groff", "-man", "-Tascii", "-ww", "lora-dist.1"}, folder.path());
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.standard_error, "");
  EXPECT_THAT(result.standard_output, HasSubstr("an adapter that PEFT loads"));
}

class EveryShell : public testing::TestWithParam<std::string> {};

TEST_P(EveryShell, CompletesEveryCommandOptionAndKey) {
  const std::string script = completion_script(GetParam());
  for (const CommandFacts& command : command_facts()) {
    EXPECT_THAT(script, HasSubstr(command.name));
    for (const OptionFacts& option : command.options) {
      if (option.is_positional) continue;
      EXPECT_THAT(script, HasSubstr(option.name.substr(2)));
    }
  }
  for (const KeyFacts& key : config_keys()) {
    EXPECT_THAT(script, HasSubstr(key.key));
    for (const std::string& word : key.words) EXPECT_THAT(script, HasSubstr(word));
  }
}

TEST_P(EveryShell, ReadsTheScriptWithoutComplaint) {
  if (!is_installed(GetParam())) GTEST_SKIP() << GetParam() << " is not installed";
  const TempFolder folder;
  folder.write("script", completion_script(GetParam()));
  const ProgramResult result = run_program({GetParam(), "-n", "script"}, folder.path());
  EXPECT_EQ(result.exit_code, 0) << result.standard_error;
}

INSTANTIATE_TEST_SUITE_P(Shells, EveryShell, testing::Values("bash", "zsh", "fish"),
                         [](const auto& info) { return info.param; });

TEST(BashCompletion, OffersCommandsKeysAndTheirWords) {
  if (!is_installed("bash")) GTEST_SKIP() << "bash is not installed";
  const TempFolder folder;
  folder.write("script", completion_script("bash"));
  const auto offered = [&](const std::string& line, const std::string& words, int word) {
    const std::string script = fmt::format(
        "source ./script; COMP_LINE='{}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({}); "
        "COMP_CWORD={}; _lora_dist 2>/dev/null; echo \"${{COMPREPLY[*]}}\"",
        line, words, word);
    return run_program({"bash", "-c", script}, folder.path()).standard_output;
  };
  EXPECT_EQ(offered("lora-dist va", "lora-dist va", 1), "validate val_size= val_data_path=\n");
  EXPECT_EQ(offered("lora-dist train --hostf", "lora-dist train --hostf", 2), "--hostfile\n");
  EXPECT_EQ(offered("lora-dist train x.yaml lora_al", "lora-dist train x.yaml lora_al", 3),
            "lora_alpha=\n");
  EXPECT_EQ(offered("lora-dist train optimizer=adamw8", "lora-dist train optimizer = adamw8", 4),
            "adamw8bit\n");
}

TEST(CompletionScript, NamesTheShellsItKnows) {
  EXPECT_THROW(completion_script("csh"), ConfigError);
}

}  // namespace
}  // namespace lora_dist
