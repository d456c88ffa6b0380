#include "core/summing/slot_tree.hpp"

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

bool are_siblings(const TreeNode& left, const TreeNode& right) {
  return left.level == right.level && left.index % 2 == 0 && right.index == left.index + 1;
}

TreeNode parent_of(const TreeNode& node) { return {node.level + 1, node.index / 2}; }

}  // namespace

std::vector<TreeNode> partial_nodes(const SlotRange& range) {
  std::vector<TreeNode> nodes;
  for (int64_t slot = range.first; slot < range.end; ++slot) {
    nodes.push_back({0, slot});
    while (nodes.size() >= 2 && are_siblings(nodes[nodes.size() - 2], nodes.back())) {
      nodes.pop_back();
      nodes.back() = parent_of(nodes.back());
    }
  }
  return nodes;
}

void SlotTree::add(TreeNode node, at::Tensor sum) {
  LD_CHECK(partials_.empty() || partials_.back().node.end_slot() == node.first_slot(),
           "slots of the gradient tree come in ascending order without gaps");
  while (!partials_.empty() && are_siblings(partials_.back().node, node)) {
    sum = partials_.back().sum.add_(sum);
    node = parent_of(node);
    partials_.pop_back();
  }
  partials_.push_back({node, std::move(sum)});
}

at::Tensor SlotTree::take_root() {
  LD_CHECK(!partials_.empty() && partials_.front().node.first_slot() == 0,
           "the gradient tree begins with slot 0");
  // Levels fall from left to right, so the right end takes its missing siblings' places and is
  // added to its neighbour.
  at::Tensor sum = partials_.back().sum;
  for (partials_.pop_back(); !partials_.empty(); partials_.pop_back())
    sum = partials_.back().sum.add_(sum);
  return sum;
}

}  // namespace lora_dist
