#include "dist/reducers/chunk_exchange.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/summing/tree_levels.hpp"

namespace lora_dist {

/// `num_rows` chunks in `buffer`, which grows if it has to.
at::Tensor ChunkExchange::room(at::Tensor& buffer, int64_t num_rows) const {
  const int64_t needed = num_rows * chunk_elements_;
  if (!buffer.defined() || buffer.numel() < needed)
    buffer = at::zeros({needed}, at::TensorOptions(at::kFloat).device(device_));
  return buffer.narrow(0, 0, needed).view({num_rows, chunk_elements_});
}

void ChunkExchange::start_scatter(const SlotTree& mine, const std::vector<SlotRange>& ranges,
                                  int64_t num_elements) {
  num_elements_ = num_elements;
  chunk_elements_ = lora_dist::chunk_elements(num_elements, group_.world_size());
  const auto num_partials = static_cast<int64_t>(mine.partials().size());
  RowCounts rows;
  nodes_.clear();
  for (const SlotRange& range : ranges) {
    const std::vector<TreeNode> theirs = partial_nodes(range);
    nodes_.insert(nodes_.end(), theirs.begin(), theirs.end());
    rows.output.push_back(static_cast<int64_t>(theirs.size()));
    rows.input.push_back(num_partials);
  }
  LD_CHECK(rows.output[group_.rank()] == num_partials, "partial sums of other slots than dealt");
  rows_ = room(received_, static_cast<int64_t>(nodes_.size()));
  input_ = pack(mine);
  work_ = group_.all_to_all(rows_, input_, rows, {.name = "adapter gradient"});
}

SlotTree ChunkExchange::finish_scatter() {
  work_.wait();
  input_.reset();
  SlotTree tree;
  for (size_t row = 0; row < nodes_.size(); ++row)
    tree.add(nodes_[row], rows_.select(0, static_cast<int64_t>(row)));
  return tree;
}

/// (W * partial sums, C): for each owner its chunk of every partial sum.
at::Tensor ChunkExchange::pack(const SlotTree& mine) {
  const int64_t num_owners = group_.world_size();
  const auto num_partials = static_cast<int64_t>(mine.partials().size());
  // One sum that needs no filling up lies in this order already.
  if (num_partials == 1 && is_even())
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

void ChunkExchange::start_gather(at::Tensor own_chunk, at::Tensor output) {
  input_ = std::move(own_chunk);
  output_ = std::move(output);
  const int64_t num_rows = group_.world_size();
  rows_ = output_.defined() && is_even() ? output_.view({num_rows, chunk_elements_})
                                         : room(gathered_, num_rows);
  work_ = group_.all_gather(rows_, input_, {.name = "adapter gradient"});
}

at::Tensor ChunkExchange::finish_gather() {
  work_.wait();
  input_.reset();
  const at::Tensor gathered = rows_.view({-1}).narrow(0, 0, num_elements_);
  if (!output_.defined()) return gathered;
  if (!is_even()) output_.copy_(gathered);
  return std::move(output_);
}

}  // namespace lora_dist
