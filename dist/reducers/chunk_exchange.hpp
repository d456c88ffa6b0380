// One level of the tree reduction (core/summing/tree_levels.hpp) for one bucket: the members of a
// group give each other the chunks that each of them owns, and get the finished ones back.
//
// fp32 on the wire. Everybody knows how the slots were dealt, so nobody asks how many partial sums
// a peer has, and none are sent that it has not. Buffers are kept between steps.
//
// Shapes: W members, C elements of a chunk.
#pragma once

#include "core/sockets/communicator.hpp"
#include "core/summing/slot_tree.hpp"

namespace lora_dist {

class ChunkExchange {
 public:
  /// `group` outlives this. Sums lie on `device`.
  ChunkExchange(Communicator& group, at::Device device) : group_(group), device_(device) {}

  /// Sums of `num_elements` elements: begins to give everybody its chunk of `mine`, the partial
  /// sums of ranges[own member], and to take our chunk of everybody's.
  ///
  /// Ranks   collective, also for a member that has no slot; so are the others.
  void start_scatter(const SlotTree& mine, const std::vector<SlotRange>& ranges,
                     int64_t num_elements);
  /// The own chunk (C) of everybody's partial sums, added as far as that goes. The sums lie in a
  /// buffer of this object and may be added to.
  SlotTree finish_scatter();

  /// Begins to gather every member's chunk, into `output` (num_elements) if that is defined.
  void start_gather(at::Tensor own_chunk, at::Tensor output = {});
  /// (num_elements): `output`, or a buffer that is valid until the next call.
  at::Tensor finish_gather();

  int64_t chunk_elements() const { return chunk_elements_; }

 private:
  at::Tensor room(at::Tensor& buffer, int64_t num_rows) const;
  at::Tensor pack(const SlotTree& mine);
  bool is_even() const { return group_.world_size() * chunk_elements_ == num_elements_; }

  Communicator& group_;
  const at::Device device_;
  int64_t num_elements_ = 0, chunk_elements_ = 0;  // of this bucket
  at::Tensor packed_, received_, gathered_;        // kept: rows of C elements
  // Under way: what the peers read and write.
  at::Tensor input_, rows_;
  std::vector<TreeNode> nodes_;  // in the order of the rows that come
  at::Tensor output_;
  Work work_;
};

}  // namespace lora_dist
