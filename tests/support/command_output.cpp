#include "tests/support/command_output.hpp"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include "launcher/commands/command.hpp"

namespace lora_dist {

std::string output_of_command(std::string_view name, std::vector<std::string> arguments) {
  const std::unique_ptr<Command> command = commands().at(name).make();
  CLI::App app;
  command->declare(app);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  app.parse(arguments);
  testing::internal::CaptureStdout();
  try {
    EXPECT_EQ(command->run(), 0);
  } catch (...) {
    testing::internal::GetCapturedStdout();
    throw;
  }
  return testing::internal::GetCapturedStdout();
}

}  // namespace lora_dist
