// lora-dist completion bash|zsh|fish
#include <cstdio>

#include <CLI/CLI.hpp>

#include "launcher/commands/command.hpp"
#include "launcher/help/help_text.hpp"

namespace lora_dist {
namespace {

class CompletionCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("shell", shell_, "bash, zsh or fish")->required();
    app.footer(
        "bash: eval \"$(lora-dist completion bash)\" in ~/.bashrc; zsh: lora-dist completion zsh > "
        "a "
        "folder of $fpath, as _lora-dist; fish: lora-dist completion fish > "
        "~/.config/fish/completions/lora-dist.fish");
  }

  int run() override {
    std::fputs(completion_script(shell_).c_str(), stdout);
    return 0;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion_command() { return std::make_unique<CompletionCommand>(); }

}  // namespace lora_dist
