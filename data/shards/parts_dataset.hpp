// The data set over the parts of a folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/samples/dataset.hpp"

namespace lora_dist {

struct PartsRequest {
  std::vector<std::string> paths;  // in order
  std::string fingerprint;
  DatasetStats counted;  // num_records, num_cut, num_skipped where they are known from preparation
  SampleSchema schema;   // samples that exceed its limits are cut when read, and counted
  bool skip_without_labels = false;  // else such a sample is an error
};

/// Opens every part and reads offsets and loss masks, not the tokens. read() is thread-safe; a
/// bounded number of files is open at a time. Errors  DataError, StorageError.
std::unique_ptr<Dataset> open_parts(const PartsRequest& request);

}  // namespace lora_dist
