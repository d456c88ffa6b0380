#include "launcher/run/run_data.hpp"

#include <filesystem>

#include "core/base/error.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/all_ranks.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/streams/batch_stream.hpp"
#include "data/streams/dataset_split.hpp"

namespace lora_dist {
namespace {

// Not the world size: the order in which held-out losses are added must not depend on it.
constexpr int64_t kHeldOutSlotsPerStep = 16;

std::string task_of(const Config& config) {
  return config.model.task_type == "auto" ? kTextGeneration : config.model.task_type;
}

PrepareRequest prepare_request(const Config& config, const std::string& path, DataUse use,
                               int64_t vocab_size) {
  return {.path = path,
          .task = task_of(config),
          .format = config.data.data_format,
          .use = use,
          .max_seq_length = config.data.max_seq_length,
          .train_on_prompt = config.data.train_on_prompt,
          .skip_broken_records = config.state.data_errors == "skip",
          .prepared_dir = config.data.prepared_dir,
          .vocab_size = vocab_size};
}

std::unique_ptr<BatchStream> held_out_stream(Dataset& dataset, std::vector<int64_t> samples,
                                             const Config& config, const Communicator& world) {
  return make_batch_stream(dataset, {.samples = std::move(samples),
                                     .batch_size = config.steps.batch_size,
                                     .slots_per_step = kHeldOutSlotsPerStep,
                                     .epochs = 1,
                                     .max_seq_length = config.data.max_seq_length,
                                     .shuffle = false,
                                     .rank = world.rank(),
                                     .world_size = world.world_size(),
                                     .prefetch = false});
}

}  // namespace

std::string data_path(const DataConfig& config) {
  const std::string& path =
      config.metadata_path.empty() ? config.train_data_dir : config.metadata_path;
  if (path.empty()) {
    throw ConfigError({.where = "train_data_dir",
                       .found = "not set",
                       .expected = "a folder or file with training data",
                       .fix = "write train_data_dir: ./data/my_data"});
  }
  return path;
}

bool needs_tokenizer(const SourceFiles& files, const std::string& base) {
  if (files.is_prepared())
    return std::filesystem::exists(std::filesystem::path(base) / "tokenizer.json");
  return files.needs_tokenizer();
}

bool data_needs_tokenizer(const DataConfig& config, const std::string& base, Communicator& world) {
  const auto answers = on_all_ranks(world, [&] {
    const auto needed_by = [&](const std::string& path, DataUse use) {
      return !path.empty() && needs_tokenizer(find_sources(path, config.data_format, use), base);
    };
    if (world.rank() != 0) return std::string("no");
    bool needed = needed_by(data_path(config), DataUse::kTraining);
    for (const auto& [name, path] : config.val_data_path.sets)
      needed = needed || needed_by(path, DataUse::kEvaluation);
    return std::string(needed ? "yes" : "no");
  });
  return answers.front() == "yes";
}

RunData prepare_run_data(const Config& config, int64_t vocab_size, const Tokenizer* tokenizer,
                         const PromptTemplate* prompt_template, Communicator& world,
                         const std::function<void(const std::string&)>& on_identified) {
  RunData data;
  data.path = data_path(config.data);
  data.slots_per_step = slots_per_step(config, world.world_size());
  PrepareRequest request = prepare_request(config, data.path, DataUse::kTraining, vocab_size);
  request.on_identified = on_identified;
  data.train = prepare_dataset(request, tokenizer, prompt_template, world);
  on_all_ranks(world, [&] {
    if (world.rank() == 0)
      data.sources = find_sources(data.path, config.data.data_format, DataUse::kTraining);
    return std::string();
  });
  StreamOptions options{.batch_size = config.steps.batch_size,
                        .slots_per_step = data.slots_per_step,
                        .epochs = config.steps.epochs,
                        .max_steps = config.steps.max_steps,
                        .max_seq_length = config.data.max_seq_length,
                        .packing = config.data.packing,
                        .shuffle = config.data.shuffle,
                        .seed = config.steps.seed,
                        .rank = world.rank(),
                        .world_size = world.world_size()};
  const auto hold_out = [&](const std::string& name, std::unique_ptr<BatchStream> stream) {
    data.held_out_streams.push_back(std::move(stream));
    data.held_out.push_back({name, data.held_out_streams.back().get()});
  };
  if (!config.data.val_data_path.empty()) {
    for (const auto& [name, path] : config.data.val_data_path.sets) {
      data.validation.push_back(
          prepare_dataset(prepare_request(config, path, DataUse::kEvaluation, vocab_size),
                          tokenizer, prompt_template, world));
      hold_out(name, held_out_stream(*data.validation.back(), {}, config, world));
    }
  } else if (config.data.val_size > 0) {
    Split split = split_dataset(*data.train, config.data.val_size, config.steps.seed);
    options.samples = std::move(split.train);
    hold_out("", held_out_stream(*data.train, std::move(split.validation), config, world));
  }
  data.stream = make_batch_stream(*data.train, std::move(options));
  return data;
}

}  // namespace lora_dist
