// The data of a run, prepared and put in order: training stream and held-out stream.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/config/config.hpp"
#include "core/sockets/batch_stream.hpp"
#include "core/sockets/communicator.hpp"
#include "core/training/held_out.hpp"
#include "data/samples/dataset.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {

struct RunData {
  std::unique_ptr<Dataset> train;
  std::vector<std::unique_ptr<Dataset>> validation;  // of val_data_path, [set]
  std::unique_ptr<BatchStream> stream;
  std::vector<std::unique_ptr<BatchStream>> held_out_streams;
  std::vector<HeldOutSet> held_out;  // the same with their names; empty: no evaluation
  std::string path;                  // what the user named
  SourceFiles sources;               // of `train`; rank 0 only
  int64_t slots_per_step = 1;
};

/// The user's data as the config names it. Errors  ConfigError: neither train_data_dir nor
/// metadata_path.
std::string data_path(const DataConfig& config);

/// `on_identified` is told the fingerprint of the training data on rank 0, before anything is
/// built.
///
/// Ranks   collective. `tokenizer` and `prompt_template` may be null for tokenised data.
/// Errors  DataError, StorageError, ConfigError: more ranks than micro-batches.
RunData prepare_run_data(const Config& config, int64_t vocab_size, const Tokenizer* tokenizer,
                         const PromptTemplate* prompt_template, Communicator& world,
                         const std::function<void(const std::string&)>& on_identified = {});

/// Whether the data of `config`, as rank 0 sees it, need the tokenizer of the base model: text that
/// it has to read, or prepared parts that are compared with it where the folder `base` has one.
///
/// Ranks   collective. Errors  DataError.
bool data_needs_tokenizer(const DataConfig& config, const std::string& base, Communicator& world);
/// The same for the data of one path. Errors  DataError.
bool needs_tokenizer(const SourceFiles& files, const std::string& base);

}  // namespace lora_dist
