// lora-dist evaluate: loss and perplexity of a base, with adapters or without, on a data set.
#include <cmath>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "core/tasks/task_kind.hpp"
#include "core/training/held_out.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/streams/batch_stream.hpp"
#include "dist/backends/backend.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/option_values.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/long_samples.hpp"
#include "launcher/run/run_data.hpp"
#include "launcher/run/scratch_folder.hpp"
#include "launcher/run/stop_signals.hpp"

namespace lora_dist {
namespace {

class EvaluateCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--base", open_.base, "folder of the base model")->required();
    app.add_option("--adapter", adapters_,
                   "PATH or PATH:weight of an adapter; may be given several times");
    app.add_option("--data", data_, "file or folder")->required();
    app.add_option("--template", open_.template_name,
                   "prompt layout; auto: the adapter's or the tokenizer's");
    app.add_option("--data-format", format_, "auto, or the format of the records")
        ->capture_default_str();
    app.add_option("--max-seq-length", max_seq_length_, "longer samples are cut")
        ->capture_default_str()
        ->check(count_from(2));
    app.add_option("--batch-size", batch_size_, "samples at once")
        ->capture_default_str()
        ->check(count_from(1));
    app.add_option("--dtype", open_.dtype, "auto, bf16 or fp32")
        ->capture_default_str()
        ->check(one_of_words({"auto", "bf16", "fp32"}));
    app.add_option("--device", open_.device, "auto, cuda or cpu")
        ->capture_default_str()
        ->check(one_of_words({"auto", "cuda", "cpu"}));
    app.add_flag("--json", json_, "print one JSON object");
  }

  int run() override {
    watch_stop_signals("nothing was written");
    for (const std::string& text : adapters_) open_.adapters.push_back(parse_adapter_choice(text));
    open_.needs_tokenizer =
        needs_tokenizer(find_sources(data_, format_, DataUse::kEvaluation), open_.base);
    const OpenedModel model = open_model(open_);
    const ScratchFolder scratch("evaluate");  // prepared parts live as long as the command
    const auto alone = make_local_world(1, /*timeout_s=*/60);
    const std::unique_ptr<Dataset> dataset =
        prepare_dataset({.path = data_,
                         .format = format_,
                         .use = DataUse::kEvaluation,
                         .max_seq_length = max_seq_length_,
                         .prepared_dir = scratch.path(),
                         .vocab_size = model.decoder().spec().vocab_size},
                        model.tokenizer.get(), model.prompt_template.get(), *alone.front());
    warn_of_long_samples(*dataset, model.decoder().spec());
    const std::unique_ptr<Task> task = tasks().at(kTextGeneration).make(*model.model);
    report(*dataset, held_out_loss(*alone.front(), *task, *stream_of(*dataset), /*seed=*/42));
    return 0;
  }

 private:
  std::unique_ptr<BatchStream> stream_of(Dataset& dataset) const {
    return make_batch_stream(dataset, {.batch_size = batch_size_,
                                       .slots_per_step = 1,
                                       .epochs = 1,
                                       .max_seq_length = max_seq_length_,
                                       .shuffle = false,
                                       .prefetch = false});
  }

  void report(const Dataset& dataset, const HeldOutLoss& found) const {
    const double loss = found.mean();
    if (json_) {
      const nlohmann::ordered_json result = {{"loss", loss},
                                             {"perplexity", std::exp(loss)},
                                             {"tokens", found.loss_terms},
                                             {"samples", dataset.num_samples()}};
      std::puts(result.dump().c_str());
    } else {
      std::printf("loss %.4f  perplexity %.3f  over %lld tokens of %lld samples\n", loss,
                  std::exp(loss), static_cast<long long>(found.loss_terms),
                  static_cast<long long>(dataset.num_samples()));
    }
  }

  OpenRequest open_;
  std::vector<std::string> adapters_;
  std::string data_, format_ = "auto";
  int64_t max_seq_length_ = 2048, batch_size_ = 4;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_evaluate_command() { return std::make_unique<EvaluateCommand>(); }

}  // namespace lora_dist
