#include "data/shards/parts_dataset.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/base/error.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxOpenFiles = 64;

class PartsDataset : public Dataset {
 public:
  explicit PartsDataset(const PartsRequest& request)
      : schema_(request.schema),
        paths_(request.paths),
        fingerprint_(request.fingerprint),
        stats_(request.counted),
        files_(paths_.size()) {
    for (size_t part = 0; part < paths_.size(); ++part)
      index_part(part, request.skip_without_labels);
    stats_.num_samples = num_samples();
  }

  const SampleSchema& schema() const override { return schema_; }
  int64_t num_samples() const override { return static_cast<int64_t>(places_.size()); }
  const SampleMeasures& measures() const override { return measures_; }
  const DatasetStats& stats() const override { return stats_; }
  const std::string& fingerprint() const override { return fingerprint_; }

  Sample read(int64_t sample) override {
    LD_CHECK(sample >= 0 && sample < num_samples(), "sample number out of range");
    const Place place = places_[sample];
    const std::lock_guard lock(mutex_);
    return open_file(place.part).read(place.sample);
  }

 private:
  struct Place {
    uint32_t part, sample;  // of the part
  };

  void index_part(size_t part, bool skip_without_labels) {
    const PartFile& file = open_file(part);
    const std::vector<SampleMeasure> measures = file.measure();
    for (int64_t sample = 0; sample < file.num_samples(); ++sample) {
      const SampleMeasure& measure = measures[sample];
      if (measure.loss_terms == 0) {
        if (!skip_without_labels) nothing_to_learn(file, sample);
        ++stats_.num_skipped;
        continue;
      }
      stats_.num_cut += file.is_cut(sample);
      places_.push_back({static_cast<uint32_t>(part), static_cast<uint32_t>(sample)});
      measures_.add(measure);
      stats_.cost += measure.cost;
      stats_.loss_terms += measure.loss_terms;
      stats_.largest_cost = std::max(stats_.largest_cost, measure.cost);
    }
  }

  [[noreturn]] static void nothing_to_learn(const PartFile& file, int64_t sample) {
    const Column& column = file.schema().columns.front();
    const ElementRange whole = file.whole_range(0, sample);
    throw DataError(
        {.where = file.path(),
         .found =
             column.max_elements > 0
                 ? fmt::format("sample {} of {} {} has no label within max_seq_length {}", sample,
                               whole.end - whole.begin, column.name, column.max_elements)
                 : fmt::format("sample {} has nothing to learn", sample),
         .expected = {},
         .fix = "raise max_seq_length or set data_errors: skip"});
  }

  /// Opens the part, closing the one opened longest ago where too many are.
  const PartFile& open_file(size_t part) {
    if (!files_[part]) {
      if (open_order_.size() >= kMaxOpenFiles) {
        files_[open_order_.front()].reset();
        open_order_.erase(open_order_.begin());
      }
      files_[part] = PartFile::open(paths_[part], schema_);
      open_order_.push_back(part);
    }
    return *files_[part];
  }

  SampleSchema schema_;
  std::vector<std::string> paths_;  // [part]
  std::string fingerprint_;
  DatasetStats stats_;
  std::vector<Place> places_;  // [sample]
  SampleMeasures measures_;
  std::mutex mutex_;                              // of the members below
  std::vector<std::unique_ptr<PartFile>> files_;  // [part], null while closed
  std::vector<size_t> open_order_;
};

}  // namespace

std::unique_ptr<Dataset> open_parts(const PartsRequest& request) {
  return std::make_unique<PartsDataset>(request);
}

}  // namespace lora_dist
