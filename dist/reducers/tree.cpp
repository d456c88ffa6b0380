// Order-free gradient reduction.
//
// Adds the gradients of a step's slots along one binary tree over slot numbers
// (core/slot_tree.hpp), so the sum has the same bits however the slots are dealt to ranks and ranks
// to hosts. First within the rank, then over the levels of core/tree_levels.hpp: every rank becomes
// the owner of a chunk and finishes the tree for it; then the chunks are gathered. Every rank
// issues the same collectives, even one that was dealt no slot.
//
// Not here: clipping (core/grad_clip), compression, anything about which parameters exist.
#include "core/error.hpp"
#include "core/slot_tree.hpp"
#include "core/trace.hpp"
#include "core/tree_levels.hpp"
#include "dist/reducers/chunk_exchange.hpp"
#include "dist/reducers/reducer.hpp"

namespace lora_dist {
namespace {

class TreeReducer final : public GradientReducer {
 public:
  explicit TreeReducer(const ReducerArgs& args)
      : world_(args.world),
        layout_(HostLayout::of(args.world.hosts())),
        num_elements_(args.num_elements) {
    if (world_.world_size() == 1) return;
    const std::vector<TreeLevel> levels = tree_levels(layout_, world_.rank(), /*num_slots=*/0);
    if (levels.size() == 1) {
      exchanges_.emplace_back(world_, num_elements_, args.device);
      return;
    }
    // All of a level's groups are made at once; each is known by its first member.
    inside_ = world_.split(levels[0].members.front(), {.name = "host"});
    across_ = world_.split(levels[1].members.front(), {.name = "peers on all hosts"});
    exchanges_.emplace_back(*inside_, num_elements_, args.device);
    exchanges_.emplace_back(*across_, exchanges_[0].chunk_elements(), args.device);
  }

  void begin_step(int64_t num_slots) override {
    num_slots_ = num_slots;
    range_ = deal_slots(num_slots, world_.rank(), world_.world_size());
    next_slot_ = range_.first;
    tree_.clear();
  }

  void add(int64_t slot_index, at::Tensor gradient) override {
    LD_CHECK(slot_index == next_slot_ && slot_index < range_.end,
             "this slot was dealt to another rank or came twice");
    LD_CHECK(gradient.scalar_type() == at::kFloat && gradient.numel() == num_elements_,
             "a slot's gradient is the flat fp32 buffer");
    tree_.add({0, slot_index}, std::move(gradient));
    ++next_slot_;
  }

  at::Tensor finalize() override {
    const trace::Span span("reduction");
    LD_CHECK(num_slots_ > 0 && next_slot_ == range_.end, "a slot of this rank has no gradient yet");
    const std::vector<TreeLevel> levels = tree_levels(layout_, world_.rank(), num_slots_);
    for (size_t level = 0; level < exchanges_.size(); ++level)
      tree_ = exchanges_[level].scatter(tree_, levels[level].ranges);
    at::Tensor sum = tree_.take_root();
    for (size_t level = exchanges_.size(); level-- > 0;) sum = exchanges_[level].gather(sum);
    return sum;
  }

 private:
  Communicator& world_;
  const HostLayout layout_;
  const int64_t num_elements_;
  std::unique_ptr<Communicator> inside_, across_;  // null with one level
  std::vector<ChunkExchange> exchanges_;           // [level]; empty for a rank that is alone
  int64_t num_slots_ = 0;
  SlotRange range_;  // of this rank
  int64_t next_slot_ = 0;
  SlotTree tree_;
};

}  // namespace

std::unique_ptr<GradientReducer> make_tree_reducer(const ReducerArgs& args) {
  return std::make_unique<TreeReducer>(args);
}

}  // namespace lora_dist
