// One level of the tree reduction (core/tree_levels.hpp): the members of a group give each other
// the chunks that each of them owns, and get the finished ones back.
//
// fp32 on the wire. Everybody knows how the slots were dealt, so nobody asks how many partial sums
// a peer has, and none are sent that it has not. Buffers are kept between steps.
//
// Shapes: W members, C elements of a chunk.
#pragma once

#include "core/communicator.hpp"
#include "core/slot_tree.hpp"

namespace lora_dist {

class ChunkExchange {
 public:
  /// `group` outlives this. Sums of this level have `num_elements` elements and lie on `device`.
  ChunkExchange(Communicator& group, int64_t num_elements, at::Device device);

  int64_t chunk_elements() const { return chunk_elements_; }

  /// The own chunk of everybody's partial sums, added as far as that goes. `mine` holds those of
  /// ranges[own member]. The sums lie in a buffer of this object and may be added to.
  ///
  /// Ranks   collective, also for a member that has no slot.
  SlotTree scatter(const SlotTree& mine, const std::vector<SlotRange>& ranges);

  /// (num_elements): every member's chunk. Valid until the next call.
  ///
  /// Ranks   collective.
  at::Tensor gather(const at::Tensor& own_chunk);

 private:
  at::Tensor room(at::Tensor& buffer, int64_t num_rows) const;
  at::Tensor pack(const SlotTree& mine);

  Communicator& group_;
  const int64_t num_elements_;
  const int64_t chunk_elements_;
  const at::Device device_;
  at::Tensor packed_, received_;  // (rows, C)
  at::Tensor gathered_WC_;
};

}  // namespace lora_dist
