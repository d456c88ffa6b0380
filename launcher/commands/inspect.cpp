// lora-dist inspect PATH [--json] [--all]
#include "data/inspect/inspect.hpp"

#include <cstdio>

#include <CLI/CLI.hpp>

#include "data/io/json.hpp"
#include "launcher/commands/command.hpp"

namespace lora_dist {
namespace {

class InspectCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("path", path_,
                   "a base model, run, checkpoint, adapter, data set, or a file of one")
        ->required();
    app.add_flag("--all", all_, "of a base model: list each tensor, not each kind of tensor");
    app.add_flag("--json", json_, "print one JSON value");
  }

  int run() override {
    const auto inspection = inspect_path(path_);
    const std::string text =
        json_ ? utf8_dump(inspection) + "\n" : inspection_text(inspection, all_);
    std::fputs(text.c_str(), stdout);
    return 0;
  }

 private:
  std::string path_;
  bool json_ = false, all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_inspect_command() { return std::make_unique<InspectCommand>(); }

}  // namespace lora_dist
