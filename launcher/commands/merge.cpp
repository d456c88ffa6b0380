// lora-dist merge: folds adapters into the base and writes it in the base's own format.
#include <cstdio>
#include <unordered_map>

#include <CLI/CLI.hpp>

#include "core/base/error.hpp"
#include "core/models/decoder/tied_head.hpp"
#include "data/weights/base_folder.hpp"
#include "launcher/commands/command.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/stop_signals.hpp"

namespace lora_dist {
namespace {

const StoredFormat* format_to_write(const std::string& dtype, const WeightInfo& original) {
  if (dtype == "fp32") return &plain_format(at::kFloat);
  if (dtype == "bf16") return &plain_format(at::kBFloat16);
  if (dtype == "fp16") return &plain_format(at::kHalf);
  if (!original.format->plain)
    throw ConfigError({.where = "--dtype auto",
                       .found = fmt::format("the base stores '{}' as {}, which is not written",
                                            original.name, original.format->name),
                       .expected = "fp32, bf16 or fp16",
                       .fix = {}});
  return original.format;
}

class MergeCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("--base", open_.base, "folder of the base model")->required();
    app.add_option("--adapter", adapters_,
                   "PATH or PATH:weight of an adapter; may be given several times")
        ->required();
    app.add_option("--output", output_, "new folder for the merged model")->required();
    app.add_option("--dtype", dtype_, "fp32, bf16 or fp16; default: as the base stores it")
        ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}));
  }

  int run() override {
    watch_stop_signals("nothing was written");
    for (const std::string& text : adapters_) open_.adapters.push_back(parse_adapter_choice(text));
    open_.dtype = "fp32";  // deltas are summed in fp32 and rounded once
    open_.device = "cpu";
    open_.needs_tokenizer = false;
    const OpenedModel model = open_model(open_);
    std::unordered_map<std::string, std::pair<const LinearGroup*, size_t>> adapted;
    for (const LinearGroup* group : model.model->linear_groups()) {
      for (size_t l = 0; l < group->linears().size(); ++l) {
        if (group->has_adapter_on(l)) adapted[group->linears()[l].name()] = {group, l};
      }
    }
    NewBaseFolder folder{
        .source_dir = open_.base, .output_dir = output_, .weights = model.files->weights()};
    const DecoderSpec& spec = model.decoder().spec();
    for (WeightInfo& weight : folder.weights) {
      weight.format = format_to_write(dtype_, weight);
      if (weight.name == spec.embedding_weight) weight.name = kEmbeddingWeight;
    }
    // A head that differs from the embedding is used by every reader only where nothing ties them.
    if (!spec.tied_embeddings) folder.tied_embeddings = false;
    folder.tensor = [&](size_t index) {
      at::Tensor weight = model.files->acquire(index).values();
      const std::string& name = folder.weights[index].name;
      const size_t dot = name.rfind('.');
      const auto linear = adapted.find(name.substr(0, dot));
      if (linear != adapted.end()) {
        const auto& [group, l] = linear->second;
        weight = name.substr(dot) == ".bias" ? group->merged_bias(l, weight)
                                             : group->merged_weight(l, weight);
      }
      weight = weight.to(*folder.weights[index].format->plain).contiguous();
      if (linear != adapted.end() && !at::isfinite(weight).all().item<bool>())
        throw NumericsError({.where = name,
                             .found = "not finite once the adapters are merged in",
                             .expected = {},
                             .fix = "lower the adapters' weights, or write --dtype fp32"});
      return weight;
    };
    write_base_folder(folder);
    std::printf("merged %zu layers of %s into %s\n", adapted.size(), open_.base.c_str(),
                output_.c_str());
    return 0;
  }

 private:
  OpenRequest open_;
  std::vector<std::string> adapters_;
  std::string output_, dtype_ = "auto";
};

}  // namespace

std::unique_ptr<Command> make_merge_command() { return std::make_unique<MergeCommand>(); }

}  // namespace lora_dist
