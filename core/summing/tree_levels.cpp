#include "core/summing/tree_levels.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/summing/slot_tree.hpp"

namespace lora_dist {
namespace {

void add_sent(SentBytes& sent, const HostLayout& layout, int from, int to, int64_t bytes) {
  if (from != to)
    (layout.host_of[from] == layout.host_of[to] ? sent.same_host : sent.other_host) += bytes;
}

TreeLevel level_of_all_ranks(int rank, int world_size, int64_t num_slots) {
  TreeLevel level;
  level.own = rank;
  for (int member = 0; member < world_size; ++member) {
    level.members.push_back(member);
    level.ranges.push_back(deal_slots(num_slots, member, world_size));
  }
  return level;
}

}  // namespace

std::vector<TreeLevel> tree_levels(const HostLayout& layout, int rank, int64_t num_slots) {
  const int world_size = static_cast<int>(layout.host_of.size());
  const int per_host = layout.ranks_per_host();
  if (layout.num_hosts == 1 || per_host <= 1)
    return {level_of_all_ranks(rank, world_size, num_slots)};
  TreeLevel inside, across;
  inside.own = rank % per_host;
  across.own = rank / per_host;
  for (int place = 0; place < per_host; ++place) {
    const int member = across.own * per_host + place;
    inside.members.push_back(member);
    inside.ranges.push_back(deal_slots(num_slots, member, world_size));
  }
  for (int host = 0; host < layout.num_hosts; ++host) {
    across.members.push_back(host * per_host + inside.own);
    const SlotRange first = deal_slots(num_slots, host * per_host, world_size);
    const SlotRange last = deal_slots(num_slots, host * per_host + per_host - 1, world_size);
    across.ranges.push_back({first.first, last.end});
  }
  return {inside, across};
}

std::vector<Bucket> gradient_buckets(int64_t num_elements, int world_size,
                                     int64_t bucket_elements) {
  const int64_t size = std::max<int64_t>(1, bucket_elements / world_size) * world_size;
  std::vector<Bucket> buckets;
  for (int64_t end = num_elements; end > 0; end -= size)
    buckets.push_back({std::max<int64_t>(0, end - size), end});
  return buckets;
}

SentBytes tree_bytes(const HostLayout& layout, int rank, int64_t num_slots, int64_t num_elements,
                     int64_t bucket_elements) {
  const std::vector<Bucket> buckets =
      gradient_buckets(num_elements, static_cast<int>(layout.host_of.size()), bucket_elements);
  std::vector<int64_t> sizes;  // [bucket] at this level
  for (const Bucket& bucket : buckets) sizes.push_back(bucket.size());
  SentBytes sent;
  for (const TreeLevel& level : tree_levels(layout, rank, num_slots)) {
    const int size = static_cast<int>(level.members.size());
    int64_t chunk_bytes = 0;  // of all buckets
    for (int64_t& elements : sizes) {
      elements = chunk_elements(elements, size);  // of the next level too
      chunk_bytes += 4 * elements;
    }
    const auto num_partials = static_cast<int64_t>(partial_nodes(level.ranges[level.own]).size());
    for (const int member : level.members)
      add_sent(sent, layout, rank, member, num_partials * chunk_bytes);
    add_sent(sent, layout, rank, level.members[(level.own + 1) % size], (size - 1) * chunk_bytes);
  }
  return sent;
}

SentBytes all_reduce_bytes(const HostLayout& layout, int rank, int64_t bytes) {
  const int world_size = static_cast<int>(layout.host_of.size());
  SentBytes sent;
  add_sent(sent, layout, rank, (rank + 1) % world_size,
           std::llround(2.0 * (world_size - 1) / world_size * static_cast<double>(bytes)));
  return sent;
}

}  // namespace lora_dist
