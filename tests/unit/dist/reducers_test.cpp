#include <gtest/gtest.h>

#include "core/slot_tree.hpp"
#include "core/tree_levels.hpp"
#include "dist/reducers/reducer.hpp"
#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

/// fp32 values of very different sizes, so that another order of additions shows in the bits.
/// Counter-based: ranks may be threads.
at::Tensor slot_gradient(int64_t slot, int64_t num_elements) {
  at::Tensor gradient = at::empty({num_elements}, at::kFloat);
  float* values = gradient.data_ptr<float>();
  for (int64_t i = 0; i < num_elements; ++i) {
    uint64_t bits =
        (slot + 1) * 0x9e3779b97f4a7c15ull + i * 0xbf58476d1ce4e5b9ull;  // SplitMix64's mixing
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ull;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebull;
    values[i] = std::ldexp(static_cast<float>(static_cast<int64_t>(bits >> 40)) - 8388608.0f,
                           static_cast<int>(bits % 24) - 24);
  }
  return gradient;
}

/// One step of the reducer that `name` names; the sum must be equal on every rank, and is rank 0's.
at::Tensor reduce(std::string_view name, int world_size, int64_t num_slots, int64_t num_elements,
                  const std::vector<std::string>& hosts = {}) {
  std::vector<at::Tensor> sums(world_size);
  run_ranks(world_size,
            [&](Communicator& world) {
              const auto reducer =
                  reducers().at(name)({.world = world, .num_elements = num_elements});
              for (int step = 0; step < 2; ++step) {  // the second one runs over used buffers
                reducer->begin_step(num_slots);
                const SlotRange range = deal_slots(num_slots, world.rank(), world.world_size());
                for (int64_t slot = range.first; slot < range.end; ++slot)
                  reducer->add(slot, slot_gradient(slot, num_elements));
                sums[world.rank()] = reducer->finalize().clone();
              }
            },
            {.hosts = hosts});
  for (const at::Tensor& sum : sums) EXPECT_TRUE(at::equal(sum, sums[0])) << "ranks differ";
  return sums[0];
}

class EveryReducer : public testing::TestWithParam<std::string_view> {};

TEST_P(EveryReducer, AddsEverySlotOnceWhenARankWasDealtNone) {
  const int64_t num_elements = 1001;
  for (const int world_size : kWorldSizes) {
    std::vector<at::Tensor> sums(world_size);
    run_ranks(world_size, [&](Communicator& world) {
      const auto reducer =
          reducers().at(GetParam())({.world = world, .num_elements = num_elements});
      reducer->begin_step(/*num_slots=*/3);
      const SlotRange range = deal_slots(3, world.rank(), world_size);
      for (int64_t slot = range.first; slot < range.end; ++slot)
        reducer->add(slot, at::arange(num_elements, at::kFloat).mul(slot + 1.0));
      EXPECT_TRUE(
          at::equal(reducer->finalize(), at::arange(num_elements, at::kFloat).mul(1.0 + 2.0 + 3.0)))
          << world_size << " ranks";
    });
  }
}

TEST_P(EveryReducer, TakesGradientsSmallerThanTheWorld) {
  for (const int64_t num_elements : {0, 1, 3}) {
    const at::Tensor sum = reduce(GetParam(), /*world_size=*/5, /*num_slots=*/5, num_elements);
    EXPECT_EQ(sum.numel(), num_elements);
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryReducer, testing::ValuesIn(reducers().names()),
                         [](const auto& info) { return std::string(info.param); });

TEST(TreeReducer, AddsAlongTheWrittenTree) {
  // Slots 0..6, written out: root = ((0+1)+(2+3)) + ((4+5)+6).
  const int64_t n = 257;
  std::vector<at::Tensor> slots;
  for (int64_t slot = 0; slot < 7; ++slot) slots.push_back(slot_gradient(slot, n));
  const at::Tensor expected =
      ((slots[0] + slots[1]) + (slots[2] + slots[3])) + ((slots[4] + slots[5]) + slots[6]);
  EXPECT_FALSE(at::equal(
      expected, ((slots[0] + slots[1]) + slots[2]) + (slots[3] + slots[4]) + slots[5] + slots[6]))
      << "these inputs cannot tell one order from another";
  for (const int world_size : kWorldSizes)
    EXPECT_TRUE(at::equal(reduce("tree", world_size, 7, n), expected)) << world_size << " ranks";
}

TEST(TreeReducer, GivesTheSameBitsAtAnyWorldSize) {
  for (const int64_t num_slots : {1, 2, 3, 5, 6, 8, 12, 13, 31}) {
    const at::Tensor alone = reduce("tree", 1, num_slots, 1003);
    for (const int world_size : kWorldSizes)
      EXPECT_TRUE(at::equal(reduce("tree", world_size, num_slots, 1003), alone))
          << num_slots << " slots on " << world_size << " ranks";
  }
}

TEST(TreeReducer, SendsTheBytesOfARingWhenSlotsAreDealtInWholeSubtrees) {
  // 8 slots on 4 ranks: one partial sum each, so 2 * 3/4 of the gradient leaves a rank.
  run_ranks(4, [](Communicator& world) {
    const auto reducer = reducers().at("tree")({.world = world, .num_elements = 4000});
    reducer->begin_step(8);
    for (int64_t slot = 2 * world.rank(); slot < 2 * world.rank() + 2; ++slot)
      reducer->add(slot, slot_gradient(slot, 4000));
    reducer->finalize();
    EXPECT_EQ(world.traffic().bytes_same_host, 2 * 3 * 4000);
    EXPECT_EQ(world.traffic().collectives, 2);
  });
}

/// Hosts of a world: even and in order, one rank each, uneven, interleaved.
const std::vector<std::vector<std::string>> kHosts = {
    {"a", "a", "b", "b"},
    {"a", "a", "a", "b", "b", "b"},
    {"b", "b", "a", "a", "c", "c"},
    {"a", "a", "a", "a", "b", "b", "b", "b"},
    {"a", "b", "c"},
    {"a", "a", "b"},
    {"a", "b", "a", "b"},
};

TEST(TreeReducer, GivesTheSameBitsOverAnyHosts) {
  for (const int64_t num_slots : {1, 3, 8, 12, 13}) {
    const at::Tensor alone = reduce("tree", 1, num_slots, 1003);
    for (const std::vector<std::string>& hosts : kHosts)
      EXPECT_TRUE(
          at::equal(reduce("tree", static_cast<int>(hosts.size()), num_slots, 1003, hosts), alone))
          << num_slots << " slots on hosts " << fmt::format("{}", fmt::join(hosts, " "));
  }
}

/// What one step sends, from every rank's own counters.
std::vector<SentBytes> bytes_of_a_step(int num_slots, int64_t num_elements,
                                       const std::vector<std::string>& hosts) {
  std::vector<SentBytes> sent(hosts.size());
  run_ranks(static_cast<int>(hosts.size()),
            [&](Communicator& world) {
              const auto reducer =
                  reducers().at("tree")({.world = world, .num_elements = num_elements});
              const TrafficCounters before = world.traffic();
              reducer->begin_step(num_slots);
              const SlotRange range = deal_slots(num_slots, world.rank(), world.world_size());
              for (int64_t slot = range.first; slot < range.end; ++slot)
                reducer->add(slot, at::ones({num_elements}));
              reducer->finalize();
              const TrafficCounters after = world.traffic();
              sent[world.rank()] = {after.bytes_same_host - before.bytes_same_host,
                                    after.bytes_other_host - before.bytes_other_host};
            },
            {.hosts = hosts});
  return sent;
}

TEST(TreeReducer, SendsTheSumOfAHostOnce) {
  // 8 slots on 2 x 2 ranks, 4000 elements. Inside: half of the sum to the neighbour, half of the
  // result back, 2 x 8000 bytes. Across: a quarter there, a quarter back, 2 x 4000 bytes.
  for (const SentBytes& sent : bytes_of_a_step(8, 4000, {"a", "a", "b", "b"})) {
    EXPECT_EQ(sent.same_host, 16000);
    EXPECT_EQ(sent.other_host, 8000);
  }
}

TEST(TreeReducer, SendsOnlyThePartialSumsThatARankHas) {
  // 8 slots on 3 ranks: (0 1)(2), (3)(4 5), (6 7), so 2, 2 and 1 partial sums; thirds of 3000
  // elements are 4000 bytes, to two owners and back.
  const std::vector<SentBytes> sent = bytes_of_a_step(8, 3000, {"a", "a", "a"});
  EXPECT_EQ(sent[0].same_host, 2 * 2 * 4000 + 2 * 4000);
  EXPECT_EQ(sent[1].same_host, 2 * 2 * 4000 + 2 * 4000);
  EXPECT_EQ(sent[2].same_host, 1 * 2 * 4000 + 2 * 4000);
}

TEST(TreeReducer, SendsWhatThePlanSays) {
  for (const std::vector<std::string>& hosts : kHosts) {
    for (const int num_slots : {1, 5, 8, 12, 32}) {
      const std::vector<SentBytes> sent = bytes_of_a_step(num_slots, 1003, hosts);
      for (int rank = 0; rank < static_cast<int>(hosts.size()); ++rank) {
        const SentBytes planned = tree_bytes(HostLayout::of(hosts), rank, num_slots, 1003);
        EXPECT_EQ(sent[rank].same_host, planned.same_host);
        EXPECT_EQ(sent[rank].other_host, planned.other_host);
      }
    }
  }
}

TEST(TreeReducer, SendsNothingWhenAlone) {
  run_ranks(1, [](Communicator& world) {
    const auto reducer = reducers().at("tree")({.world = world, .num_elements = 10});
    reducer->begin_step(2);
    reducer->add(0, at::ones({10}));
    reducer->add(1, at::ones({10}));
    EXPECT_TRUE(at::equal(reducer->finalize(), at::full({10}, 2.0)));
    EXPECT_EQ(world.traffic().collectives, 0);
  });
}

TEST(SlotTree, HoldsOnePartialSumPerSetBitWhenItBeginsAtZero) {
  EXPECT_EQ(partial_nodes({0, 7}), (std::vector<TreeNode>{{2, 0}, {1, 2}, {0, 6}}));
  EXPECT_EQ(partial_nodes({3, 6}), (std::vector<TreeNode>{{0, 3}, {1, 2}}));
  EXPECT_EQ(partial_nodes({4, 8}), (std::vector<TreeNode>{{2, 1}}));
  EXPECT_TRUE(partial_nodes({5, 5}).empty());
}

TEST(SlotTree, HoldsFewPartialSums) {
  SlotTree tree;
  size_t most = 0;
  for (int64_t slot = 0; slot < 1000; ++slot) {
    tree.add({0, slot}, at::ones({1}));
    most = std::max(most, tree.partials().size());
  }
  EXPECT_LE(most, 10u);  // log2(1000) < 10
  EXPECT_EQ(tree.take_root().item<float>(), 1000.0f);
}

}  // namespace
}  // namespace lora_dist
