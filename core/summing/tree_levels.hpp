// How the sum over slots (slot_tree.hpp) is spread over ranks and hosts, and what that sends.
//
// A level is a group of ranks that each hold partial sums of their own slots. Every member of the
// group becomes the owner of one chunk of the elements: all send it their partial sums of that
// chunk (an all-to-all), and it goes on with them. On the way back each level gathers its chunks.
//
// The elements travel in buckets, one behind the other from the end of the flat gradient: what a
// backward pass has finished is summed while it goes on. A sum is taken element by element, so
// neither levels nor buckets show in its bits.
//
// One host, or hosts with different numbers of ranks: one level, all ranks. Else two: the ranks of
// a host, then the ranks of equal place over the hosts, so that a host sends its sum once. The
// tree, and so every bit of the sum, is the same.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ranks/host_layout.hpp"
#include "core/training/batch.hpp"

namespace lora_dist {

struct TreeLevel {
  std::vector<int> members;       // ranks, ascending
  int own = 0;                    // place of this rank among the members
  std::vector<SlotRange> ranges;  // [member] the slots whose sums it brings
};

/// The levels from the view of `rank`, in the order of the sums.
std::vector<TreeLevel> tree_levels(const HostLayout& layout, int rank, int64_t num_slots);

/// Elements of a chunk; the last ones may be short, which is filled up on the wire.
inline int64_t chunk_elements(int64_t num_elements, int num_members) {
  return (num_elements + num_members - 1) / num_members;
}

/// fp32 elements of a bucket: 8 MiB. Smaller ones begin earlier; below some megabytes latencies
/// count.
inline constexpr int64_t kBucketElements = int64_t{2} << 20;

/// Elements first .. end-1 of the flat gradient.
struct Bucket {
  int64_t first = 0;
  int64_t end = 0;
  int64_t size() const { return end - first; }
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

/// The buckets in the order in which a backward pass completes them: the last elements first, the
/// rest at the buffer's start. About `bucket_elements` long, a multiple of the ranks so that only
/// the rest is filled up.
std::vector<Bucket> gradient_buckets(int64_t num_elements, int world_size,
                                     int64_t bucket_elements = kBucketElements);

struct SentBytes {
  int64_t same_host = 0, other_host = 0;
  int64_t total() const { return same_host + other_host; }
};

/// What `rank` sends in one step to sum `num_elements` fp32 along the tree. Counted as
/// communicators count: rows of an all-to-all to their reader, a gather to the next member.
SentBytes tree_bytes(const HostLayout& layout, int rank, int64_t num_slots, int64_t num_elements,
                     int64_t bucket_elements = kBucketElements);

/// What `rank` sends in an all-reduce of `bytes` bytes: 2 (W-1)/W of them, to the next rank.
SentBytes all_reduce_bytes(const HostLayout& layout, int rank, int64_t bytes);

}  // namespace lora_dist
