#include "dist/reducers/chunk_exchange.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/tree_levels.hpp"

namespace lora_dist {
ChunkExchange::ChunkExchange(Communicator& group, int64_t num_elements, at::Device device)
    : group_(group),
      num_elements_(num_elements),
      chunk_elements_(lora_dist::chunk_elements(num_elements, group.world_size())),
      device_(device) {}

/// The first `num_rows` chunks of `buffer`, which grows if it has to.
at::Tensor ChunkExchange::room(at::Tensor& buffer, int64_t num_rows) const {
  if (!buffer.defined() || buffer.size(0) < num_rows)
    buffer = at::zeros({num_rows, chunk_elements_}, at::TensorOptions(at::kFloat).device(device_));
  return buffer.narrow(0, 0, num_rows);
}

SlotTree ChunkExchange::scatter(const SlotTree& mine, const std::vector<SlotRange>& ranges) {
  const auto num_partials = static_cast<int64_t>(mine.partials().size());
  RowCounts rows;
  std::vector<TreeNode> nodes;  // in the order of the rows that come
  for (const SlotRange& range : ranges) {
    const std::vector<TreeNode> theirs = partial_nodes(range);
    nodes.insert(nodes.end(), theirs.begin(), theirs.end());
    rows.output.push_back(static_cast<int64_t>(theirs.size()));
    rows.input.push_back(num_partials);
  }
  LD_CHECK(rows.output[group_.rank()] == num_partials, "partial sums of other slots than dealt");
  const at::Tensor received = room(received_, static_cast<int64_t>(nodes.size()));
  group_.all_to_all(received, pack(mine), rows, {.name = "adapter gradient"}).wait();
  SlotTree tree;
  for (size_t row = 0; row < nodes.size(); ++row)
    tree.add(nodes[row], received.select(0, static_cast<int64_t>(row)));
  return tree;
}

/// (W * partial sums, C): for each owner its chunk of every partial sum.
at::Tensor ChunkExchange::pack(const SlotTree& mine) {
  const int64_t num_owners = group_.world_size();
  const auto num_partials = static_cast<int64_t>(mine.partials().size());
  // One sum that needs no filling up lies in this order already.
  if (num_partials == 1 && num_owners * chunk_elements_ == num_elements_)
    return mine.partials().front().sum.view({num_owners, chunk_elements_});
  const at::Tensor packed = room(packed_, num_owners * num_partials);
  for (int64_t owner = 0; owner < num_owners; ++owner) {
    const int64_t first = std::min(owner * chunk_elements_, num_elements_);
    const int64_t size = std::min(chunk_elements_, num_elements_ - first);  // may be short or empty
    for (int64_t k = 0; k < num_partials; ++k)
      packed.select(0, owner * num_partials + k)
          .narrow(0, 0, size)
          .copy_(mine.partials()[k].sum.narrow(0, first, size));
  }
  return packed;
}

at::Tensor ChunkExchange::gather(const at::Tensor& own_chunk) {
  const at::Tensor chunks_WC = room(gathered_WC_, group_.world_size());
  group_.all_gather(chunks_WC, own_chunk, {.name = "adapter gradient"}).wait();
  return chunks_WC.view({-1}).narrow(0, 0, num_elements_);
}

}  // namespace lora_dist
