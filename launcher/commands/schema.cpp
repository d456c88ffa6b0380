// lora-dist schema: the key table for editors, and for the manual.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/config/config.hpp"
#include "launcher/commands/command.hpp"

namespace lora_dist {
namespace {

class SchemaCommand : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_flag("--markdown", markdown_, "print the tables of docs/configuration.md instead");
  }

  int run() override {
    std::fputs((markdown_ ? config_markdown() : config_schema()).c_str(), stdout);
    return 0;
  }

 private:
  bool markdown_ = false;
};

}  // namespace

std::unique_ptr<Command> make_schema_command() { return std::make_unique<SchemaCommand>(); }

}  // namespace lora_dist
