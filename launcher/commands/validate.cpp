// lora-dist validate: a bad job fails at submission, with all that is wrong with it, and not after
// it has waited for its machines.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/base/log.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/run/check_run.hpp"

namespace lora_dist {
namespace {

class ValidateCommand : public Command {
 public:
  void declare(CLI::App& app) override {
    config_.declare(app);
    auto* data = app.add_flag("--data", data_,
                              "read all records too: files, formats, broken records, tokens");
    app.add_flag("--config-only", config_only_,
                 "leave out what the config names: base, data and paths of another machine")
        ->excludes(data);
  }

  int run() override {
    const CheckedConfig checked = config_.check();
    const Config& config = checked.config;
    const bool is_first = detect_world().rank == 0;
    // A rank with another file than rank 0 is heard the way failures of single ranks are.
    if (!is_first && !checked.mistakes.empty()) throw in_one_line(checked.mistakes, config.source);
    std::vector<Finding> findings;
    for (const ConfigError& mistake : checked.mistakes)
      findings.push_back({mistake.exit_code(), mistake.what()});
    if (findings.empty()) look_for_missing_keys(config, findings);
    if (!config_only_)
      for (Finding& finding : check_run(config)) findings.push_back(std::move(finding));
    std::string report;
    if (data_ && findings.empty()) report = report_on_data(config, findings);
    if (is_first) {
      for (const Finding& finding : findings) log_error(finding.text);
      if (findings.empty()) report = resolved_yaml(config) + (report.empty() ? "" : "\n") + report;
      std::fputs(report.c_str(), stdout);
    }
    return findings.empty() ? 0 : findings.front().exit_code;
  }

 private:
  static void look_for_missing_keys(const Config& config, std::vector<Finding>& findings) {
    for (const char* key : {"base_model", "train_data_dir", "output_dir"}) {
      if (key == std::string("train_data_dir") && !config.data.metadata_path.empty()) continue;
      collect_finding(findings, [&] { require_keys(config, config.source, {key}); });
    }
  }

  ConfigOptions config_;
  bool data_ = false, config_only_ = false;
};

}  // namespace

std::unique_ptr<Command> make_validate_command() { return std::make_unique<ValidateCommand>(); }

}  // namespace lora_dist
