#include "data/shards/parts_dataset.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error.hpp"
#include "data/sample_encoder.hpp"
#include "data/shards/part_file.hpp"

namespace lora_dist {
namespace {

constexpr size_t kMaxOpenFiles = 64;

class PartsDataset : public Dataset {
 public:
  explicit PartsDataset(const PartsRequest& request)
      : paths_(request.paths),
        fingerprint_(request.fingerprint),
        stats_(request.counted),
        files_(paths_.size()) {
    for (size_t part = 0; part < paths_.size(); ++part) index_part(part, request);
    stats_.num_samples = num_samples();
  }

  int64_t num_samples() const override { return static_cast<int64_t>(places_.size()); }
  const std::vector<int32_t>& lengths() const override { return lengths_; }
  const std::vector<int32_t>& num_labels() const override { return num_labels_; }
  const DatasetStats& stats() const override { return stats_; }
  const std::string& fingerprint() const override { return fingerprint_; }

  Tokens read(int64_t sample) override {
    LD_CHECK(sample >= 0 && sample < num_samples(), "sample number out of range");
    const Place place = places_[sample];
    const uint64_t end = place.begin + lengths_[sample];
    const std::lock_guard lock(mutex_);
    const PartFile& file = open_file(place.part);
    return {file.read_tokens(place.begin, end), file.read_loss_mask(place.begin, end)};
  }

 private:
  struct Place {
    uint32_t part;
    uint64_t begin;  // token within the part
  };

  void index_part(size_t part, const PartsRequest& request) {
    const PartFile& file = open_file(part);
    const std::vector<uint8_t> mask = file.read_loss_mask(0, file.offsets().back());
    for (int64_t sample = 0; sample < file.num_samples(); ++sample) {
      const uint64_t begin = file.offsets()[sample];
      const uint64_t full_length = file.offsets()[sample + 1] - begin;
      const uint64_t length = std::min<uint64_t>(full_length, request.max_seq_length);
      const int64_t labels = count_labels(std::span(mask).subspan(begin, length));
      if (labels == 0) {
        if (!request.skip_without_labels)
          nothing_to_learn(file.path(), sample, full_length, request.max_seq_length);
        ++stats_.num_skipped;
        continue;
      }
      stats_.num_cut += length < full_length;
      places_.push_back({static_cast<uint32_t>(part), begin});
      lengths_.push_back(static_cast<int32_t>(length));
      num_labels_.push_back(static_cast<int32_t>(labels));
      stats_.num_tokens += static_cast<int64_t>(length);
      stats_.num_labels += labels;
      stats_.longest = std::max(stats_.longest, static_cast<int64_t>(length));
    }
  }

  [[noreturn]] static void nothing_to_learn(const std::string& path, int64_t sample,
                                            uint64_t full_length, int64_t max_seq_length) {
    throw DataError(
        {.where = path,
         .found = fmt::format("sample {} of {} tokens has no label within max_seq_length {}",
                              sample, full_length, max_seq_length),
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
      files_[part] = PartFile::open(paths_[part]);
      open_order_.push_back(part);
    }
    return *files_[part];
  }

  std::vector<std::string> paths_;  // [part]
  std::string fingerprint_;
  DatasetStats stats_;
  std::vector<Place> places_;                     // [sample]
  std::vector<int32_t> lengths_, num_labels_;     // [sample]
  std::mutex mutex_;                              // of the members below
  std::vector<std::unique_ptr<PartFile>> files_;  // [part], null while closed
  std::vector<size_t> open_order_;
};

}  // namespace

std::unique_ptr<Dataset> open_parts(const PartsRequest& request) {
  return std::make_unique<PartsDataset>(request);
}

}  // namespace lora_dist
