// One part of a prepared data set: the columns of a task's schema in an HDF5 file.
//
//   /<column>    numbers of its elements, sample after sample     [element, element's shape]
//   /<offsets>   uint64, first element of each sample, and end    [sample + 1]
//
// Integers that have a bound are unsigned and as narrow as it allows: of texts /tokens are uint16
// or uint32, /loss_mask is uint8, and both are bounded by /offsets. Chunked, Fletcher-32, v1.10
// file format: a flipped bit is an error and never another token. Attributes name the task, and
// what the part was made from. Format 1 had the columns of text generation alone and named no task;
// those are written as format 1 still, so that programs which know no other read them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/samples/sample.hpp"
#include "data/shards/h5.hpp"

namespace lora_dist {

inline constexpr int64_t kPartFormatVersion = 2;

/// The oldest format that such samples can be written in.
int64_t part_format_of(const SampleSchema& schema);

struct PartAttributes {
  /// By the names of SampleSchema::origins; empty where the file does not say.
  std::map<std::string, std::string> origins;
  std::string source_sha256;
  int64_t max_seq_length = 0;
  int64_t num_records = 0;  // read for this part, skipped ones included
  int64_t num_cut = 0;      // samples cut to max_seq_length
  int64_t num_skipped = 0;  // broken records

  bool operator==(const PartAttributes&) const = default;
  /// Empty where there is none.
  std::string origin(const std::string& name) const;
};

/// Samples collected in memory before they are written.
class PartContent {
 public:
  explicit PartContent(SampleSchema schema);
  void add(const Sample& sample);

  const SampleSchema& schema() const { return schema_; }
  int64_t num_samples() const { return num_samples_; }
  uint64_t num_elements(size_t column) const;
  /// The numbers of a column, as its dtype lays them out.
  const std::vector<char>& bytes(size_t column) const { return bytes_[column]; }
  /// By name.
  const std::map<std::string, std::vector<uint64_t>>& offsets() const { return offsets_; }

 private:
  SampleSchema schema_;
  int64_t num_samples_ = 0;
  std::vector<std::vector<char>> bytes_;  // [column]
  std::map<std::string, std::vector<uint64_t>> offsets_;
};

/// Writes under a temporary name, fsync, rename, fsync of the folder. Errors  StorageError.
void write_part(const std::string& path, const PartAttributes& attributes,
                const PartContent& content);

/// Elements of a column.
struct ElementRange {
  uint64_t begin = 0, end = 0;
};

/// A part opened for reading. Thread-safe.
class PartFile {
 public:
  /// Checks the whole layout (part_layout.hpp) before anything of its size is allocated.
  /// Errors  DataError: not such a file, damaged, of a newer format, of another task or version of
  /// its samples than `schema`. StorageError: cannot be opened.
  static std::unique_ptr<PartFile> open(const std::string& path, const SampleSchema& schema);
  /// By the schema of the task that the file names. Errors  also DataError: a task unknown here.
  static std::unique_ptr<PartFile> open(const std::string& path);

  const std::string& path() const { return task_.path; }
  const SampleSchema& schema() const { return schema_; }
  int64_t format_version() const { return format_version_; }
  const PartAttributes& attributes() const { return attributes_; }
  int64_t num_samples() const { return num_samples_; }
  /// Elements of all samples, those beyond Column::max_elements included.
  uint64_t num_elements(size_t column) const { return columns_[column].num_elements; }

  /// Where a sample's elements lie, also those beyond max_elements.
  ElementRange whole_range(size_t column, int64_t sample) const;
  /// Where those lie that are read.
  ElementRange range(size_t column, int64_t sample) const;
  bool is_cut(int64_t sample) const;

  /// (elements, element's shape). Errors  DataError: a chunk does not match its checksum.
  at::Tensor read_elements(size_t column, ElementRange elements) const;
  Sample read(int64_t sample) const;
  /// What the plan knows of each sample; reads the measured columns.
  std::vector<SampleMeasure> measure() const;

 private:
  struct OpenedColumn {
    H5Id dataset, memory_type;
    uint64_t num_elements = 0;
    const std::vector<uint64_t>* offsets = nullptr;  // null: one element per sample
  };

  PartFile(const std::string& path, const SampleSchema* schema);
  void read_schema(const SampleSchema* expected);
  void read_attributes();
  void open_columns();
  void require_bounds(const std::string& name, const std::vector<uint64_t>& offsets) const;
  void require_samples(size_t column) const;

  H5Task task_;
  H5Id file_;
  SampleSchema schema_;
  int64_t format_version_ = 1;
  PartAttributes attributes_;
  int64_t num_samples_ = 0;
  std::map<std::string, std::vector<uint64_t>> offsets_;  // by name
  std::vector<OpenedColumn> columns_;
};

}  // namespace lora_dist
