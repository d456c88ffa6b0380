// lora-dist help [COMMAND | keys | KEY] [--man], and lora-dist version
#include <cstdio>

#include <CLI/CLI.hpp>

#include "launcher/commands/command.hpp"
#include "launcher/help/help_text.hpp"

namespace lora_dist {
namespace {

class HelpCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("topic", topic_, "a command, keys, or one key of the config file");
    app.add_flag("--man", man_, "the manual page in roff: lora-dist help --man > lora-dist.1");
  }

  int run() override {
    const std::string text = man_             ? man_page()
                             : topic_.empty() ? program_help()
                                              : help_about(topic_);
    std::fputs(text.c_str(), stdout);
    return 0;
  }

 private:
  std::string topic_;
  bool man_ = false;
};

class VersionCommand final : public Command {
 public:
  void declare(CLI::App&) override {}

  int run() override {
    std::puts("lora-dist " LORA_DIST_VERSION);
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> make_help_command() { return std::make_unique<HelpCommand>(); }
std::unique_ptr<Command> make_version_command() { return std::make_unique<VersionCommand>(); }

}  // namespace lora_dist
