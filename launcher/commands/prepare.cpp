// lora-dist prepare: builds the HDF5 parts that training would build by itself. All ranks take
// part.
#include <cstdio>

#include "core/models/model_families.hpp"
#include "data/weights/base_folder.hpp"
#include "dist/backends/rendezvous.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/config_file.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/run/banner.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/device.hpp"
#include "launcher/run/long_samples.hpp"
#include "launcher/run/run_data.hpp"
#include "launcher/run/stop_signals.hpp"
#include "launcher/run/world.hpp"

namespace lora_dist {
namespace {

class PrepareCommand final : public Command {
 public:
  void declare(CLI::App& app) override { config_.declare(app); }

  int run() override {
    watch_stop_signals("the parts that are complete are kept");
    WorldInfo world = detect_world();
    const std::unique_ptr<Rendezvous> rendezvous = meet_other_hosts(world, config_.known_limits());
    const Config config = config_.read(rendezvous.get());
    require_training_keys(config);
    const std::unique_ptr<Communicator> communicator =
        join_world(config, world, choose_device(config.distribution.device, world.local_rank));
    const std::string base = base_dir_of_rank(config, *communicator);
    const DecoderSpec spec = read_decoder_spec(read_model_config(base), base + "/config.json");
    std::unique_ptr<Tokenizer> tokenizer;
    std::unique_ptr<PromptTemplate> prompt_template;
    if (data_needs_tokenizer(config.data, base, *communicator)) {
      tokenizer = load_tokenizer(base);
      prompt_template = make_template(config.data.chat_template, *tokenizer);
    }
    const RunData data = prepare_run_data(config, spec.vocab_size, tokenizer.get(),
                                          prompt_template.get(), *communicator);
    warn_of_long_samples(*data.train, spec);
    const DatasetStats& stats = data.train->stats();
    if (world.rank == 0) {
      std::fputs(data_text({.path = data.path,
                            .sources = data.sources,
                            .dataset = *data.train,
                            .tokenizer = tokenizer.get(),
                            .columns = terminal_columns()})
                     .c_str(),
                 stderr);
      const std::string skipped =
          stats.num_skipped > 0 ? fmt::format(", {} broken records skipped", stats.num_skipped)
                                : "";
      std::puts(fmt::format("prepared {} samples, {} tokens, {} learnt, {} cut{}, in {}/{}",
                            stats.num_samples, stats.cost, stats.loss_terms, stats.num_cut, skipped,
                            config.data.prepared_dir, data.train->fingerprint().substr(0, 16))
                    .c_str());
    }
    return 0;
  }

 private:
  ConfigOptions config_;
};

}  // namespace

std::unique_ptr<Command> make_prepare_command() { return std::make_unique<PrepareCommand>(); }

}  // namespace lora_dist
