// What a sample of a data set is: a value for each column that its task names.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/training/batch.hpp"

namespace lora_dist {

/// One value of every sample: so many elements, all of one shape.
struct Column {
  std::string name;
  at::ScalarType dtype = at::kLong;   // of its numbers in memory
  std::vector<int64_t> element = {};  // shape of one element; {}: a number
  /// Name of the bounds of the samples' elements, which columns with equally many in each sample
  /// share. Empty: one element per sample.
  std::string offsets = {};
  int64_t num_values = 0;    // integers are 0 .. num_values - 1; 0: all that dtype holds
  int64_t max_elements = 0;  // of a sample, further ones are left out in reading; 0: no limit
  bool measured = false;     // SampleSchema::measure looks at its numbers
};

/// The values of one sample, [column]: (element shape), or with offsets (elements, element shape).
struct Sample {
  std::vector<at::Tensor> values;
};

/// One value where it lies.
struct ColumnView {
  const void* data = nullptr;  // null where the column is not measured
  int64_t num_elements = 0;

  template <class Number>
  const Number* as() const {
    return static_cast<const Number*>(data);
  }
};
using SampleView = std::span<const ColumnView>;  // [column]
std::vector<ColumnView> view_of(const Sample& sample);

/// What the plan of a step knows of a sample without reading it.
struct SampleMeasure {
  int64_t cost = 1;        // what rows are filled and padded by: tokens of texts
  int64_t loss_terms = 1;  // what the loss is divided by: labels of texts; 0: nothing to learn
  int32_t bucket = 0;      // samples of one slot are of one bucket: a shape of pictures
};

/// [sample]
struct SampleMeasures {
  std::vector<int32_t> costs, loss_terms, buckets;

  void add(const SampleMeasure& measure);
};

/// What the samples of a task are, from a part on the disk to a batch in memory.
struct SampleSchema {
  std::string task;     // a name of tasks.def
  int64_t version = 1;  // another one where the same columns mean something else
  std::vector<Column> columns;
  /// Fingerprints that a part carries: what its samples were made with beside the records.
  std::vector<std::string> origins;
  SampleMeasure (*measure)(SampleView sample) = nullptr;
  /// The batch of a slot, from its samples in their order.
  Batch (*collate)(const std::vector<Sample>& samples, const Slot& slot) = nullptr;
};

/// Errors  LD_CHECK: the values are not those of the columns.
void require_fitting(const Sample& sample, const SampleSchema& schema);

}  // namespace lora_dist
