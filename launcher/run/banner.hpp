// What a person reads before the first step: model, what learns, the arithmetic of the batch,
// steps, memory.
#pragma once

#include <string>

#include "core/config/config.hpp"
#include "core/models/model.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/world.hpp"
#include "data/samples/dataset.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {

/// The data of a run in lines of at most `columns`: which files of which format, what is learnt of
/// the first sample.
struct DataFacts {
  std::string path;  // what the user named
  const SourceFiles& sources;
  Dataset& dataset;
  const Tokenizer* tokenizer = nullptr;  // null: the data are tokenised already
  size_t columns = 80;
};
/// Lines as banner_text has them, each ended. Errors  DataError, StorageError: the first sample
/// cannot be read.
std::string data_text(const DataFacts& facts);

/// Columns of the terminal on standard error, at least 40; 80 where it is none.
size_t terminal_columns();

struct BannerFacts {
  const Config& config;
  const WorldInfo& world;
  const ModelOutline& model;
  const RunPlan& plan;
  const DatasetStats& data;
  std::string data_details;  // data_text
  std::string data_path, template_name, dtype, device, backend;
  int threads = 1;
  bool user_bounds_threads = false;  // by OMP_NUM_THREADS
  int64_t slots_per_step = 1, steps_per_epoch = 0, num_steps = 0, num_train_samples = 0,
          num_rows = 0, num_held_out = 0;
  bool recompute_blocks = false;
  std::string resumed_from;
  int64_t steps_done = 0;
};

/// Several lines, without a final newline.
std::string banner_text(const BannerFacts& facts);

}  // namespace lora_dist
