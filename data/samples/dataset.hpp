// A prepared data set: samples in HDF5 parts, read by sample number.
#pragma once

#include <cstdint>
#include <string>

#include "core/samples/sample.hpp"

namespace lora_dist {

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

}  // namespace lora_dist
