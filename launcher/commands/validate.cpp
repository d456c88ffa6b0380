// lora-dist validate: a bad job fails at submission, not after it has waited for its machines.
#include <cstdio>

#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {
namespace {

class ValidateCommand : public Command {
 public:
  void declare(CLI::App& app) override { options_.declare(app); }

  int run() override {
    const Config config = options_.read();
    require_training_keys(config);
    if (detect_world().rank == 0) std::fputs(resolved_yaml(config).c_str(), stdout);
    return 0;
  }

 private:
  ConfigOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_validate_command() { return std::make_unique<ValidateCommand>(); }

}  // namespace lora_dist
