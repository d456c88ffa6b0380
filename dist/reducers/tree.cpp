// Order-free gradient reduction.
//
// Adds the gradients of a step's slots along one binary tree over slot numbers
// (core/summing/slot_tree.hpp), so the sum has the same bits however the slots are dealt to ranks
// and ranks to hosts. First within the rank, then over the levels of core/summing/tree_levels.hpp:
// every rank becomes the owner of a chunk and finishes the tree for it; then the chunks are
// gathered. Every rank issues the same collectives, even one that was dealt no slot.
//
// Bucket by bucket, and as a pipeline: when new buckets set off, those before them go on to their
// next stage, in the order in which their stages were begun. So a stage has the time of a bucket's
// backward pass, and every rank waits at the same places.
//
// Not here: clipping (core/training/trainer), compression, anything about which parameters exist.
#include <deque>

#include "core/base/error.hpp"
#include "core/base/trace.hpp"
#include "core/summing/slot_tree.hpp"
#include "core/summing/tree_levels.hpp"
#include "dist/reducers/bucket_walk.hpp"
#include "dist/reducers/chunk_exchange.hpp"
#include "dist/reducers/reducer.hpp"

namespace lora_dist {
namespace {

/// The way of one bucket: scattered level by level, then gathered level by level back. A stage is
/// one collective.
class BucketExchange {
 public:
  /// `groups` is [level].
  BucketExchange(const std::vector<Communicator*>& groups, at::Device device) {
    for (Communicator* group : groups) exchanges_.emplace_back(*group, device);
  }

  /// Begins the first stage. `mine` holds the bucket of this rank's partial sums, `sum` receives
  /// the bucket of the sum over all slots; `levels` outlives the way.
  void start(SlotTree mine, const std::vector<TreeLevel>& levels, at::Tensor sum) {
    tree_ = std::move(mine);
    levels_ = &levels;
    sum_ = std::move(sum);
    stage_ = 0;
    scatter(/*level=*/0, sum_.numel());
  }

  /// Waits for the stage that is under way and begins the next one; false when the sum is complete.
  bool move_on() {
    const size_t num_levels = exchanges_.size();
    const size_t stage = stage_++;
    if (stage < num_levels) {
      tree_ = exchanges_[stage].finish_scatter();
      if (stage + 1 < num_levels) {
        scatter(stage + 1, exchanges_[stage].chunk_elements());
      } else {
        gather(stage, tree_.take_root());
      }
      return true;
    }
    const size_t level = 2 * num_levels - 1 - stage;
    at::Tensor gathered = exchanges_[level].finish_gather();
    if (level > 0) gather(level - 1, std::move(gathered));
    return level > 0;
  }

 private:
  void scatter(size_t level, int64_t num_elements) {
    exchanges_[level].start_scatter(tree_, (*levels_)[level].ranges, num_elements);
  }
  void gather(size_t level, at::Tensor own_chunk) {
    exchanges_[level].start_gather(std::move(own_chunk),
                                   level == 0 ? std::move(sum_) : at::Tensor());
  }

  std::vector<ChunkExchange> exchanges_;  // [level]
  const std::vector<TreeLevel>* levels_ = nullptr;
  SlotTree tree_;
  at::Tensor sum_;
  size_t stage_ = 0;
};

class TreeReducer final : public GradientReducer {
 public:
  explicit TreeReducer(const ReducerArgs& args)
      : world_(args.world),
        layout_(HostLayout::of(args.world.hosts())),
        num_elements_(args.num_elements),
        device_(args.device),
        buckets_(args) {
    if (is_alone()) return;
    const std::vector<TreeLevel> levels = tree_levels(layout_, world_.rank(), /*num_slots=*/0);
    if (levels.size() == 1) {
      groups_ = {&world_};
      return;
    }
    // All of a level's groups are made at once; each is known by its first member.
    inside_ = world_.split(levels[0].members.front(), {.name = "host"});
    across_ = world_.split(levels[1].members.front(), {.name = "peers on all hosts"});
    groups_ = {inside_.get(), across_.get()};
  }

  void begin_step(int64_t num_slots) override {
    LD_CHECK(under_way_.empty(), "a step begins before the last one's sum was taken");
    num_slots_ = num_slots;
    range_ = deal_slots(num_slots, world_.rank(), world_.world_size());
    next_slot_ = range_.first;
    tree_.clear();
    unfinished_.reset();
    buckets_.restart();
    if (!is_alone()) levels_ = tree_levels(layout_, world_.rank(), num_slots);
  }

  void add(int64_t slot_index, at::Tensor gradient) override {
    check_slot(slot_index, gradient);
    tree_.add({0, slot_index}, std::move(gradient));
  }

  void add_last(int64_t slot_index, at::Tensor gradient) override {
    check_slot(slot_index, gradient);
    LD_CHECK(next_slot_ == range_.end, "this rank has more slots");
    unfinished_ = std::move(gradient);
  }

  void advance(int64_t first_final_element) override {
    if (is_alone() || !buckets_.has_next(first_final_element)) return;
    const trace::Span span("reduction beside backward");
    check_complete();
    const size_t num_before = under_way_.size();
    start_buckets(first_final_element);
    for (size_t i = 0; i < num_before; ++i) move_on_first();
  }

  at::Tensor finalize() override {
    const trace::Span span("reduction");
    check_complete();
    if (is_alone()) return sum_of_this_rank();
    start_buckets(/*first_final_element=*/0);
    while (!under_way_.empty()) move_on_first();
    tree_.clear();
    unfinished_.reset();
    return sum_;
  }

 private:
  bool is_alone() const { return world_.world_size() == 1; }

  void check_slot(int64_t slot_index, const at::Tensor& gradient) {
    LD_CHECK(slot_index == next_slot_ && slot_index < range_.end,
             "this slot was dealt to another rank or came twice");
    LD_CHECK(gradient.scalar_type() == at::kFloat && gradient.numel() == num_elements_,
             "a slot's gradient is the flat fp32 buffer");
    ++next_slot_;
  }

  void check_complete() const {
    LD_CHECK(num_slots_ > 0 && next_slot_ == range_.end, "a slot of this rank has no gradient yet");
  }

  at::Tensor sum_of_this_rank() {
    if (unfinished_.defined()) tree_.add({0, range_.end - 1}, std::move(unfinished_));
    return tree_.take_root();
  }

  void start_buckets(int64_t first_final_element) {
    if (!sum_.defined())
      sum_ = at::empty({num_elements_}, at::TensorOptions(at::kFloat).device(device_));
    while (buckets_.has_next(first_final_element)) {
      const Bucket& bucket = buckets_.take();
      if (idle_.empty()) idle_.push_back(std::make_unique<BucketExchange>(groups_, device_));
      under_way_.push_back(std::move(idle_.back()));
      idle_.pop_back();
      under_way_.back()->start(partial_sums_of(bucket), levels_,
                               sum_.narrow(0, bucket.first, bucket.size()));
    }
  }

  /// The bucket of this rank's partial sums: the last slot takes its place in the tree here.
  SlotTree partial_sums_of(const Bucket& bucket) const {
    SlotTree sums;
    for (const SlotTree::Partial& partial : tree_.partials())
      sums.add(partial.node, partial.sum.narrow(0, bucket.first, bucket.size()));
    if (unfinished_.defined())
      sums.add({0, range_.end - 1}, unfinished_.narrow(0, bucket.first, bucket.size()));
    return sums;
  }

  void move_on_first() {
    std::unique_ptr<BucketExchange> first = std::move(under_way_.front());
    under_way_.pop_front();
    const bool goes_on = first->move_on();
    if (goes_on) {
      under_way_.push_back(std::move(first));
    } else {
      idle_.push_back(std::move(first));
    }
  }

  Communicator& world_;
  const HostLayout layout_;
  const int64_t num_elements_;
  const at::Device device_;
  BucketWalk buckets_;
  std::unique_ptr<Communicator> inside_, across_;  // null with one level
  std::vector<Communicator*> groups_;              // [level]; empty for a rank that is alone
  // The step that is summed.
  int64_t num_slots_ = 0;
  SlotRange range_;  // of this rank
  int64_t next_slot_ = 0;
  std::vector<TreeLevel> levels_;
  SlotTree tree_;          // of the slots that are complete
  at::Tensor unfinished_;  // the last slot's gradient, which its backward pass still writes to
  // Exchanges in the order in which their stages were begun; the idle ones keep their buffers.
  std::deque<std::unique_ptr<BucketExchange>> under_way_;
  std::vector<std::unique_ptr<BucketExchange>> idle_;
  at::Tensor sum_;  // (num_elements)
};

}  // namespace

std::unique_ptr<GradientReducer> make_tree_reducer(const ReducerArgs& args) {
  return std::make_unique<TreeReducer>(args);
}

}  // namespace lora_dist
