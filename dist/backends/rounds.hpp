// Collectives cut into rounds, as ranks that share memory make them.
//
// Every rank has a slot in the shared memory. In a round each rank first fills its own slot
// (deposit), and when the ranks that it reads from have filled theirs, it takes what it needs out
// of them (collect). A collective is a number of rounds over consecutive chunks of its tensors. The
// chunks are small enough to stay in the cache, so main memory is read once and written once.
//
// Not here: who waits for whom (shared_memory.cpp).
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/sockets/communicator.hpp"

namespace lora_dist {

/// What a rank and its slots are like, the same for all operations of a transport.
struct RoundsLayout {
  int rank = 0;
  int world_size = 1;
  int64_t slot_bytes = 0;  // a multiple of 64 * world_size
  /// The part of a slot that is meant for one reader.
  int64_t lane_bytes() const { return slot_bytes / world_size / 64 * 64; }
};

class RoundsOperation {
 public:
  virtual ~RoundsOperation() = default;

  /// What all ranks must agree on: kind, root and size. Compared in the first round.
  struct Signature {
    int32_t kind = 0, root = 0;
    int64_t bytes = 0;
    friend bool operator==(const Signature&, const Signature&) = default;
  };
  virtual Signature signature() const = 0;
  /// At least 1. Ranks of an all_to_all may differ; the largest number counts.
  virtual int64_t num_rounds() const = 0;
  virtual bool reads_from(int rank) const = 0;
  virtual void deposit(int64_t round, std::byte* own_slot) = 0;
  /// `slots` is [rank].
  virtual void collect(int64_t round, const std::vector<const std::byte*>& slots) = 0;
};

using Rounds = std::unique_ptr<RoundsOperation>;
Rounds broadcast_in_rounds(const RoundsLayout& layout, at::Tensor tensor, int root);
/// Adds in rank order, whatever the size.
Rounds all_reduce_in_rounds(const RoundsLayout& layout, at::Tensor tensor);
Rounds all_gather_in_rounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input);
/// `output` and `input` are (rows, bytes) of uint8.
Rounds all_to_all_in_rounds(const RoundsLayout& layout, at::Tensor output, at::Tensor input,
                            const RowCounts& rows);
Rounds barrier_in_rounds();

}  // namespace lora_dist
