// Builds the parts of a data set that are this rank's to build.
//
// A part is a fixed run of records in the order of the files, whatever the number of ranks. Parts
// that an earlier, interrupted preparation finished are taken as they are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data/encoders/sample_encoder.hpp"
#include "data/preparation/dataset_prepare.hpp"
#include "data/preparation/manifest.hpp"
#include "data/preparation/record_notes.hpp"
#include "data/shards/part_file.hpp"
#include "data/sources/source.hpp"

namespace lora_dist {

inline constexpr int64_t kRecordsPerPart =
    2048;  // a part of usual chat data is some hundred kilobytes to few megabytes

/// The records of all files, one after the other.
class RecordStream {
 public:
  explicit RecordStream(SourceFiles files) : files_(std::move(files)) {}
  std::optional<Record> next();
  bool skip();

 private:
  Source* current();

  SourceFiles files_;
  size_t next_file_ = 0;
  std::unique_ptr<Source> source_;
};

struct BuiltPart {
  std::optional<PartSummary> part;  // nothing: the data ended before it
  bool end = false;                 // no part with a larger number exists
  int64_t num_samples = 0;          // with something to learn, whether the part was written or not
  int64_t num_without_labels =
      0;  // with nothing; the part was not written, unless they are skipped
  std::string first_without_labels;  // what to say about the first of them
  RecordNotes notes;                 // of records read now; a part that was found made has none
};

class PartBuilder {
 public:
  /// `encoder` must outlive it.
  PartBuilder(const PrepareRequest& request, SourceFiles files, PartAttributes made_from,
              std::string folder, const SampleEncoder& encoder);

  /// Builds part `number`; numbers ascend from call to call. Errors  DataError, StorageError.
  BuiltPart build(int64_t number);

 private:
  std::optional<PartSummary> finished_part(const std::string& path) const;
  bool pass_over(int64_t num_records);
  BuiltPart build_anew(const std::string& path);
  void add_record(const Record& record, PartContent& content, PartAttributes& counts,
                  BuiltPart& built) const;
  void warn_of_skipped(const std::string& reason);

  PrepareRequest request_;
  PartAttributes made_from_;
  std::string folder_;
  RecordStream records_;
  const SampleEncoder& encoder_;
  int64_t next_record_ = 0;
  int num_warnings_ = 0;
};

}  // namespace lora_dist
