// Order-free gradient reduction.
//
// Adds the gradients of a step's slots along one binary tree over slot numbers (slot_tree.hpp), so
// the sum has the same bits however the slots are dealt to ranks. Across ranks: chunk j of a rank's
// partial sums goes to rank j, which finishes the tree for its chunk; then all ranks gather the
// chunks. fp32 on the wire. How many partial sums a rank has follows from the dealing, so nobody
// asks. Every rank issues the same collectives, even one that was dealt no slot.
//
// Not here: clipping (core/grad_clip), compression, anything about which parameters exist.
//
// Shapes: W ranks, K partial sums (the largest number that a rank has), C elements of a chunk.
#include <algorithm>

#include "core/error.hpp"
#include "core/trace.hpp"
#include "dist/reducers/reducer.hpp"
#include "dist/reducers/slot_tree.hpp"

namespace lora_dist {
namespace {

class TreeReducer final : public GradientReducer {
 public:
  explicit TreeReducer(const ReducerArgs& args)
      : world_(args.world),
        num_elements_(args.num_elements),
        chunk_elements_((args.num_elements + args.world.world_size() - 1) /
                        args.world.world_size()) {}

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
    if (world_.world_size() == 1) return tree_.take_root();
    const at::Tensor received_WKC = exchange_partials();
    const at::Tensor chunks_WC = at::empty({world_.world_size(), chunk_elements_}, at::kFloat);
    world_.all_gather(chunks_WC, finish_own_chunk(received_WKC), {.name = "adapter gradient"})
        .wait();
    return chunks_WC.view({-1}).narrow(0, 0, num_elements_);
  }

 private:
  int64_t num_partials(int rank) const {
    return static_cast<int64_t>(
        partial_nodes(deal_slots(num_slots_, rank, world_.world_size())).size());
  }

  /// Row r of the result is rank r's partial sums of the chunk that this rank owns.
  at::Tensor exchange_partials() {
    int64_t most_partials = 0;
    for (int rank = 0; rank < world_.world_size(); ++rank)
      most_partials = std::max(most_partials, num_partials(rank));
    make_room(most_partials);
    for (size_t k = 0; k < tree_.partials().size(); ++k)
      pack(tree_.partials()[k].sum, static_cast<int64_t>(k));
    tree_.clear();
    world_.all_to_all(received_WKC_, packed_WKC_, {.name = "adapter gradient"}).wait();
    return received_WKC_;
  }

  void make_room(int64_t most_partials) {
    if (packed_WKC_.defined() && packed_WKC_.size(1) == most_partials) return;
    packed_WKC_ = at::zeros({world_.world_size(), most_partials, chunk_elements_}, at::kFloat);
    received_WKC_ = at::empty_like(packed_WKC_);
  }

  void pack(const at::Tensor& sum, int64_t k) {
    for (int owner = 0; owner < world_.world_size(); ++owner) {
      const int64_t first = std::min(owner * chunk_elements_, num_elements_);
      const int64_t size = std::min(
          chunk_elements_, num_elements_ - first);  // the last chunks may be short or empty
      packed_WKC_.select(0, owner)
          .select(0, k)
          .narrow(0, 0, size)
          .copy_(sum.narrow(0, first, size));
    }
  }

  at::Tensor finish_own_chunk(const at::Tensor& received_WKC) {
    SlotTree tree;
    for (int rank = 0; rank < world_.world_size(); ++rank) {
      const std::vector<TreeNode> nodes =
          partial_nodes(deal_slots(num_slots_, rank, world_.world_size()));
      for (size_t k = 0; k < nodes.size(); ++k)
        tree.add(nodes[k], received_WKC.select(0, rank).select(0, static_cast<int64_t>(k)));
    }
    return tree.take_root();
  }

  Communicator& world_;
  const int64_t num_elements_;
  const int64_t chunk_elements_;
  int64_t num_slots_ = 0;
  SlotRange range_;  // of this rank
  int64_t next_slot_ = 0;
  SlotTree tree_;
  at::Tensor packed_WKC_, received_WKC_;  // kept between steps
};

}  // namespace

std::unique_ptr<GradientReducer> make_tree_reducer(const ReducerArgs& args) {
  return std::make_unique<TreeReducer>(args);
}

}  // namespace lora_dist
