// lora-dist train: the main job. Joins the ranks it was started with, starts them itself with
// --ranks, or runs alone.
#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "dist/backends/rendezvous.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/option_values.hpp"
#include "launcher/run/stop_signals.hpp"
#include "launcher/run/training.hpp"
#include "launcher/run/world.hpp"

namespace lora_dist {
namespace {

class TrainCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    config_.declare(app);
    app.add_option("--ranks", launch_.num_ranks, "start this many ranks with mpirun")
        ->check(number_of_processes("--ranks 2; without it one process trains"));
    app.add_option("--hosts", launch_.hosts,
                   "where to start them: a:8,b:8; one for each slot without --ranks");
    app.add_option("--hostfile", launch_.hostfile, "the same from an Open MPI hostfile");
    app.add_option(
           "--allow-change", options_.allowed_changes,
           "go on from a checkpoint, as another run, although this key differs from its own")
        ->allow_extra_args(false)
        ->type_name("KEY");
    app.add_flag("--dry-run", dry_run_, "open model and data, print what would run, train nothing");
  }

  int run() override {
    WorldInfo world = detect_world();
    const bool start_ranks = asks_for_ranks(launch_, world);
    // Before anything that makes threads; the process that starts the ranks waits by itself.
    if (!start_ranks) watch_stop_signals("nothing was trained");
    const std::unique_ptr<Rendezvous> rendezvous = meet_other_hosts(world, config_.known_limits());
    const Config config = config_.read(rendezvous.get());
    require_training_keys(config);
    if (start_ranks) return run_under_mpirun(launch_, rank_arguments());
    if (const std::string word = word_about_unused_tasks(world); !word.empty()) log_warning(word);
    if (dry_run_) return dry_run(config, world);
    options_.job = batch_job();
    return exit_code_of_stop(train(config, world, options_));
  }

 private:
  // This command line without what was only for starting the ranks.
  std::vector<std::string> rank_arguments() const {
    std::vector<std::string> arguments = {"train"};
    for (const std::string& path : config_.paths)
      arguments.insert(arguments.end(), {"--config", path});
    for (const std::string& key : options_.allowed_changes)
      arguments.insert(arguments.end(), {"--allow-change", key});
    if (dry_run_) arguments.push_back("--dry-run");
    arguments.insert(arguments.end(), config_.overrides.begin(), config_.overrides.end());
    return arguments;
  }

  ConfigOptions config_;
  LaunchRequest launch_;
  TrainOptions options_;
  bool dry_run_ = false;
};

}  // namespace

std::unique_ptr<Command> make_train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace lora_dist
