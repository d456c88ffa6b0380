// The plain sum: slots in the order of the rank, ranks in whatever order the backend adds. The
// cheapest, and the last bits depend on the world size; chosen by `deterministic: false`.
//
// Bucket by bucket as the tree has it (dist/reducers/tree.cpp): when new ones set off, those before
// them are waited for.
#include <deque>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "dist/reducers/bucket_walk.hpp"
#include "dist/reducers/reducer.hpp"

namespace lora_dist {
namespace {

class AllReduceReducer final : public GradientReducer {
 public:
  explicit AllReduceReducer(const ReducerArgs& args)
      : world_(args.world),
        num_elements_(args.num_elements),
        device_(args.device),
        buckets_(args) {}

  void begin_step(int64_t) override {
    sum_.reset();
    unfinished_.reset();
    buckets_.restart();
  }

  void add(int64_t, at::Tensor gradient) override {
    check_gradient(gradient);
    sum_ = sum_.defined() ? sum_.add_(gradient) : std::move(gradient);
  }

  void add_last(int64_t, at::Tensor gradient) override {
    check_gradient(gradient);
    (sum_.defined() ? unfinished_ : sum_) = std::move(gradient);
  }

  void advance(int64_t first_final_element) override {
    if (world_.world_size() == 1 || !buckets_.has_next(first_final_element)) return;
    const trace::Span span("reduction beside backward");
    const size_t num_before = under_way_.size();
    start_buckets(first_final_element);
    for (size_t i = 0; i < num_before; ++i) wait_for_first();
  }

  at::Tensor finalize() override {
    const trace::Span span("reduction");
    start_buckets(/*first_final_element=*/0);
    while (!under_way_.empty()) wait_for_first();
    unfinished_.reset();
    return std::move(sum_);
  }

 private:
  void check_gradient(const at::Tensor& gradient) const {
    LD_CHECK(gradient.scalar_type() == at::kFloat && gradient.numel() == num_elements_,
             "a slot's gradient is the flat fp32 buffer");
  }

  void start_buckets(int64_t first_final_element) {
    if (!sum_.defined())
      sum_ = at::zeros({num_elements_}, at::TensorOptions(at::kFloat).device(device_));
    while (buckets_.has_next(first_final_element)) {
      const Bucket& bucket = buckets_.take();
      at::Tensor part = sum_.narrow(0, bucket.first, bucket.size());
      if (unfinished_.defined()) part.add_(unfinished_.narrow(0, bucket.first, bucket.size()));
      under_way_.push_back(world_.all_reduce(part, {.name = "adapter gradient"}));
    }
  }

  void wait_for_first() {
    under_way_.front().wait();
    under_way_.pop_front();
  }

  Communicator& world_;
  const int64_t num_elements_;
  const at::Device device_;
  BucketWalk buckets_;
  // The step that is summed.
  at::Tensor sum_;         // of this rank's slots, then of all
  at::Tensor unfinished_;  // the last slot's gradient beside it, which is still written to
  std::deque<Work> under_way_;
};

}  // namespace

std::unique_ptr<GradientReducer> make_all_reduce_reducer(const ReducerArgs& args) {
  return std::make_unique<AllReduceReducer>(args);
}

}  // namespace lora_dist
