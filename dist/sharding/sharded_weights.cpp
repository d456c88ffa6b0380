// At most two units are in memory: the one that runs, and the next one, which is on its way. What
// travels is what the file stores: bf16 stays bf16.
//
// On a GPU the host is ahead of the kernels it queues. A gather begins behind what was queued
// before it, so its buffer may be memory that the unit before last has just left, and runs beside
// the unit that is queued next. Waiting for it holds up the host and not the GPU, which still has
// that unit to compute; the host in turn is never further ahead than the memory allows.
#include "dist/sharding/sharded_weights.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "core/planning/shard_layout.hpp"

namespace lora_dist {
namespace {

class ShardedWeights final : public WeightSource {
 public:
  ShardedWeights(WeightSource& files, const WeightUnits& units, Communicator& group,
                 at::Device device)
      : files_(files),
        group_(group),
        device_(device),
        layouts_(unit_layouts(files, units, group.world_size())),
        vectors_(files.weights().size()),
        homes_(files.weights().size()) {
    for (size_t unit = 0; unit < units.size(); ++unit) {
      for (const UnitLayout::Matrix& matrix : layouts_[unit].matrices)
        homes_[matrix.index] = Home{unit, matrix};
      slices_.push_back(read_slice(layouts_[unit]).to(device_));
      for (const size_t index : units[unit])
        if (!is_cut(weights()[index])) vectors_[index] = read_whole(index);
    }
  }

  const std::string& location() const override { return files_.location(); }
  const std::vector<WeightInfo>& weights() const override { return files_.weights(); }

  StoredWeight acquire(size_t index) override {
    if (vectors_[index].stored().defined()) return vectors_[index];
    const std::optional<Home>& home = homes_[index];
    LD_CHECK(home && running_ && running_->unit == home->unit,
             "this weight is not here: " + weights()[index].name);
    return StoredWeight::of_bytes(running_->bytes.narrow(0, home->matrix.begin, home->matrix.bytes),
                                  weights()[index]);
  }

  void begin_pass(std::vector<size_t> units) override {
    LD_CHECK(!running_ && !coming_, "a pass begins before the last one ended");
    units_ahead_.assign(units.rbegin(), units.rend());
    fetch_ahead();
  }

  void enter_next_unit() override {
    LD_CHECK(coming_, "a pass has no more units than it announced");
    const trace::Span span("wait for weights");
    running_.reset();  // before the next buffer is made
    coming_->work.wait();
    running_ = std::move(coming_);
    coming_.reset();
    fetch_ahead();
  }

  void end_pass() noexcept override {
    units_ahead_.clear();
    running_.reset();
    coming_.reset();
  }

 private:
  struct Home {
    size_t unit;
    UnitLayout::Matrix matrix;
  };
  struct Gathered {
    size_t unit;
    at::Tensor bytes;  // uint8, all slices
    Work work;
  };

  void fetch_ahead() {
    if (units_ahead_.empty()) return;
    const size_t unit = units_ahead_.back();
    units_ahead_.pop_back();
    const at::Tensor& slice = slices_.at(unit);
    at::Tensor rows = at::empty({group_.world_size(), slice.numel()}, slice.options());
    Work work = group_.all_gather(rows, slice, {.name = "frozen weights"});
    coming_.emplace(Gathered{unit, rows.view({-1}), std::move(work)});
  }

  // This rank's slice of a unit. Touches no page of the files that belongs to another rank's slice
  // alone.
  at::Tensor read_slice(const UnitLayout& layout) {
    at::Tensor slice = at::zeros({layout.slice_bytes}, at::kByte);
    const int64_t begin = group_.rank() * layout.slice_bytes, end = begin + layout.slice_bytes;
    for (const UnitLayout::Matrix& matrix : layout.matrices) {
      const int64_t from = std::max(begin, matrix.begin),
                    to = std::min(end, matrix.begin + matrix.bytes);
      if (from >= to) continue;
      const at::Tensor stored = files_.acquire(matrix.index).stored();
      std::memcpy(static_cast<char*>(slice.data_ptr()) + (from - begin),
                  static_cast<const char*>(stored.const_data_ptr()) + (from - matrix.begin),
                  static_cast<size_t>(to - from));
      files_.release(matrix.index);
    }
    return slice;
  }

  StoredWeight read_whole(size_t index) {
    StoredWeight copy = files_.acquire(index).copied_to(device_);
    files_.release(index);
    return copy;
  }

  WeightSource& files_;
  Communicator& group_;
  at::Device device_;
  std::vector<UnitLayout> layouts_;         // [unit]
  std::vector<at::Tensor> slices_;          // [unit] uint8, this rank's, on the device
  std::vector<StoredWeight> vectors_;       // [index in weights()]; empty for matrices
  std::vector<std::optional<Home>> homes_;  // [index in weights()] of matrices
  std::vector<size_t> units_ahead_;         // of this pass, the next one last
  std::optional<Gathered> running_, coming_;
};

}  // namespace

std::unique_ptr<WeightSource> make_sharded_weights(WeightSource& files, const WeightUnits& units,
                                                   Communicator& group, at::Device device) {
  return std::make_unique<ShardedWeights>(files, units, group, device);
}

}  // namespace lora_dist
