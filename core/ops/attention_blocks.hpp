// The blocks of query rows into which attention on the CPU is cut, and their spread over the
// threads.
#pragma once

#include <vector>

#include "core/ops/attention.hpp"
#include "core/ops/kernels/kernels.hpp"

namespace lora_dist::ops {

/// Query rows [row, row + rows) of a head and the keys that any of them sees.
struct AttentionBlock {
  int64_t row, rows;
  int64_t key, width;
  std::vector<int64_t> first, last;  // [i]: columns that row i sees, counted from `key`
};

struct AttentionBlocks {
  struct Shape {
    int64_t rows;  // of a block at most
    // `key` and `width` are multiples of it; the width may reach beyond the last key.
    int64_t key_alignment = 1;
  };

  int64_t group, head_dim;                          // query heads of a key/value head
  std::vector<std::vector<AttentionBlock>> blocks;  // [sequence]
  int64_t largest = 0;                              // rows * width of a block
  int64_t widest = 0;

  AttentionBlocks(const at::Tensor& q_BTNH, const at::Tensor& k_BSKH,
                  const AttentionOptions& options, Shape shape);
};

/// Calls body(sequence, kv_head) for all of them, spread over the threads.
template <class Body>
void for_each_kv_head(const at::Tensor& k_BSKH, Body&& body) {
  const int64_t heads = k_BSKH.size(2);
  kernels::parallel_rows(k_BSKH.size(0) * heads, /*grain=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) body(task / heads, task % heads);
  });
}

}  // namespace lora_dist::ops
