// A prepared data set: samples in HDF5 parts, read by sample number.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/batch_stream.hpp"
#include "core/communicator.hpp"
#include "core/config.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/sources/folder_files.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

class SampleEncoder;

struct DatasetStats {
  int64_t num_records = 0;
  int64_t num_samples = 0;
  int64_t cost = 0;        // of all samples: tokens of texts
  int64_t loss_terms = 0;  // of all samples: labels of texts
  int64_t largest_cost = 0;
  int64_t num_cut = 0;      // longer than max_seq_length, cut
  int64_t num_skipped = 0;  // broken records skipped with data_errors: skip
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// What its samples are.
  virtual const SampleSchema& schema() const = 0;
  virtual int64_t num_samples() const = 0;
  /// By sample number.
  virtual const SampleMeasures& measures() const = 0;
  /// Thread-safe. Errors  DataError, StorageError.
  virtual Sample read(int64_t sample) = 0;
  virtual const DatasetStats& stats() const = 0;
  /// SHA-256 over the sources and what the samples are made with: the name of the folder.
  virtual const std::string& fingerprint() const = 0;
};

struct PrepareRequest {
  std::string path;  // file or folder of the user's data, or a folder of prepared parts
  std::string task = kTextGeneration;
  std::string format = "auto";
  DataUse use = DataUse::kTraining;
  int64_t max_seq_length = 2048;
  bool train_on_prompt = false;
  bool skip_broken_records = false;
  std::string prepared_dir;
  int64_t vocab_size = 0;  // of the base model: larger ids are an error
  /// Told the fingerprint on rank 0 before parts are built; what it throws ends the preparation on
  /// all ranks.
  std::function<void(const std::string& fingerprint)> on_identified = {};
};

/// Builds the HDF5 parts that are missing and opens the data set. Parts are built by all ranks, a
/// part is a fixed run of records; an existing complete folder is used as it is.
///
/// Ranks   collective. `tokenizer` and `prompt_template` may be null where the format is tokenized.
/// Errors  DataError: empty data, broken record with file and line, a sample without labels left
/// after cutting.
std::unique_ptr<Dataset> prepare_dataset(const PrepareRequest& request, const Tokenizer* tokenizer,
                                         const PromptTemplate* prompt_template,
                                         Communicator& world);
/// The same with samples that `encoder` makes.
std::unique_ptr<Dataset> prepare_dataset(const PrepareRequest& request,
                                         const SampleEncoder& encoder, Communicator& world);

struct Split {
  std::vector<int64_t> train, validation;  // sample numbers of the data set, ascending
};
/// `val_size` below 1 is a share (rounded up), else a count; drawn by a counter-based stream from
/// `seed`. Errors  ConfigError: nothing would be left to train on.
Split split_dataset(const Dataset& dataset, double val_size, int64_t seed);

struct StreamOptions {
  std::vector<int64_t> samples;  // of the data set; empty: all
  int64_t batch_size = 4;
  int64_t slots_per_step = 1;  // micro-batches of one optimiser step over all ranks
  double epochs = 3;
  int64_t max_steps = -1;
  int64_t max_seq_length = 0;  // padding to a multiple of 8 stops here; 0: no limit
  bool packing = false;        // rows of a cost up to max_seq_length; batch_size counts rows
  bool shuffle = true;
  int64_t seed = 42;
  int rank = 0;
  int world_size = 1;
  bool prefetch = true;  // a thread reads the next steps' slots of this rank ahead
};

/// The training order over a data set, and its batches (data/streams/epoch_order.hpp).
/// `dataset` must outlive it.
std::unique_ptr<BatchStream> make_batch_stream(Dataset& dataset, StreamOptions options);

}  // namespace lora_dist
