// Commands of the contract whose feature is not built: known by name, refused in one line.
#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "launcher/commands/command.hpp"

namespace lora_dist {
namespace {

class NotAvailableCommand : public Command {
 public:
  explicit NotAvailableCommand(std::string name) : name_(std::move(name)) {}

  void declare(CLI::App& app) override { app.allow_extras(); }  // whatever its options will be

  int run() override {
    throw ConfigError({.where = "command line",
                       .found = fmt::format("`{}` is not available yet", name_),
                       .fix = "`lora-dist --help` lists what is"});
  }

 private:
  std::string name_;
};

std::unique_ptr<Command> not_available(const char* name) {
  return std::make_unique<NotAvailableCommand>(name);
}

}  // namespace

std::unique_ptr<Command> make_export_command() { return not_available("export"); }
std::unique_ptr<Command> make_label_command() { return not_available("label"); }
std::unique_ptr<Command> make_serve_command() { return not_available("serve"); }

}  // namespace lora_dist
