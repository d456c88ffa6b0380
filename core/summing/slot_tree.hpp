// The fixed binary tree over slot numbers along which gradients are added.
//
// Node (level, index) covers slots [index << level, (index + 1) << level). Its sum is left child +
// right child; a node that has no slot of the step is left out, and a parent with one child takes
// it over unchanged. So the tree, and every rounding in it, follows from the number of slots alone.
//
// A SlotTree takes nodes in ascending order, leaves or whole subtrees, and merges siblings as soon
// as both are there, like a binary counter: at most log2(slots) + 1 partial sums are alive. What it
// cannot merge yet are the partial sums that travel; the owner feeds everyone's to another
// SlotTree. Whether slots came one by one or as subtrees, the same nodes are left.
#pragma once

#include <cstdint>
#include <vector>

#include "core/training/batch.hpp"

namespace lora_dist {

struct TreeNode {
  int level = 0;
  int64_t index = 0;

  int64_t first_slot() const { return index << level; }
  int64_t end_slot() const { return (index + 1) << level; }
  friend bool operator==(const TreeNode&, const TreeNode&) = default;
};

/// The nodes that are left when the slots of `range` have been added one by one, in ascending
/// order.
std::vector<TreeNode> partial_nodes(const SlotRange& range);

class SlotTree {
 public:
  struct Partial {
    TreeNode node;
    at::Tensor sum;
  };

  /// `sum` is taken over and may be added to. Nodes come in ascending order without gaps.
  void add(TreeNode node, at::Tensor sum);
  const std::vector<Partial>& partials() const { return partials_; }
  /// The root's sum, when all slots of the step have been added; the tree is empty again.
  at::Tensor take_root();
  void clear() { partials_.clear(); }

 private:
  std::vector<Partial> partials_;  // ascending slots
};

}  // namespace lora_dist
