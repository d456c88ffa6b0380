#include "core/ops/attention_blocks.hpp"

#include <algorithm>

#include "core/base/error.hpp"

namespace lora_dist::ops {
namespace {

/// The blocks of one sequence; `starts` is [t], or null.
std::vector<AttentionBlock> blocks_of(int64_t tokens, int64_t keys, int64_t window,
                                      const int64_t* starts, AttentionBlocks::Shape shape) {
  std::vector<AttentionBlock> blocks;
  for (int64_t row = 0; row < tokens; row += shape.rows) {
    AttentionBlock block{.row = row, .rows = std::min(shape.rows, tokens - row)};
    const int64_t position = keys - tokens + row;  // of the block's first row among the keys
    const auto first_key = [&](int64_t i) {
      const int64_t start = starts ? starts[row + i] : 0;
      return window > 0 ? std::max(start, position + i - window + 1) : start;
    };
    const int64_t alignment = shape.key_alignment;
    block.key = first_key(0) / alignment * alignment;
    block.width = (position + block.rows - block.key + alignment - 1) / alignment * alignment;
    for (int64_t i = 0; i < block.rows; ++i) {
      block.first.push_back(first_key(i) - block.key);
      block.last.push_back(position + i + 1 - block.key);
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace

AttentionBlocks::AttentionBlocks(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                                 const AttentionOptions& options, Shape shape)
    : group(q_BTNH.size(2) / k_BSKH.size(2)), head_dim(q_BTNH.size(3)) {
  const int64_t tokens = q_BTNH.size(1), keys = k_BSKH.size(1);
  LD_CHECK(!options.starts_BT.defined() || tokens == keys, "packed rows have no past");
  for (int64_t b = 0; b < q_BTNH.size(0); ++b) {
    const int64_t* starts = options.starts_BT.defined()
                                ? options.starts_BT.const_data_ptr<int64_t>() + b * tokens
                                : nullptr;
    blocks.push_back(blocks_of(tokens, keys, options.window, starts, shape));
    for (const AttentionBlock& block : blocks.back()) {
      largest = std::max(largest, block.rows * block.width);
      widest = std::max(widest, block.width);
    }
  }
}

}  // namespace lora_dist::ops
