// From a user's files, or parts that he brings, to a data set on every rank.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/sockets/communicator.hpp"
#include "core/tasks/task_kind.hpp"
#include "data/samples/dataset.hpp"
#include "data/sources/folder_files.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {

class SampleEncoder;

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

}  // namespace lora_dist
