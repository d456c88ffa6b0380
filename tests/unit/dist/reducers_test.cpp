#include <gtest/gtest.h>

#include "core/summing/slot_tree.hpp"
#include "core/summing/tree_levels.hpp"
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

/// How a backward pass of the last round goes on: where the gradient is final, call by call.
using Progress = std::vector<int64_t>;

/// The same sum with buckets of about `bucket_elements`, begun while the last slot's gradient is
/// written from its end towards its start. A rank without a slot in the last round only keeps step.
at::Tensor reduce_beside_backward(std::string_view name, int world_size, int64_t num_slots,
                                  int64_t num_elements, int64_t bucket_elements,
                                  const Progress& progress,
                                  const std::vector<std::string>& hosts = {}) {
  std::vector<at::Tensor> sums(world_size);
  const auto one_step = [&](Communicator& world, GradientReducer& reducer) {
    const int64_t rounds = deal_slots(num_slots, 0, world_size).size();
    const SlotRange range = deal_slots(num_slots, world.rank(), world_size);
    reducer.begin_step(num_slots);
    at::Tensor written, unfinished;
    for (int64_t slot = range.first; slot < range.end; ++slot) {
      if (slot - range.first + 1 < rounds) {
        reducer.add(slot, slot_gradient(slot, num_elements));
        continue;
      }
      written = slot_gradient(slot, num_elements);
      unfinished = at::full({num_elements}, NAN);
      reducer.add_last(slot, unfinished);
    }
    int64_t end = num_elements;
    const auto write_from = [&](int64_t first) {
      if (unfinished.defined())
        unfinished.narrow(0, first, end - first).copy_(written.narrow(0, first, end - first));
      end = first;
    };
    for (const int64_t first_final : progress) {
      write_from(first_final);
      reducer.advance(first_final);
    }
    write_from(0);
    sums[world.rank()] = reducer.finalize().clone();
  };
  run_ranks(
      world_size,
      [&](Communicator& world) {
        const auto reducer = reducers().at(name)(
            {.world = world, .num_elements = num_elements, .bucket_elements = bucket_elements});
        for (int step = 0; step < 2; ++step) one_step(world, *reducer);
      },
      {.hosts = hosts});
  for (const at::Tensor& sum : sums) EXPECT_TRUE(at::equal(sum, sums[0])) << "ranks differ";
  return sums[0];
}

/// Evenly; raggedly, with calls that complete nothing, some or many buckets; to the middle only;
/// never.
const std::vector<Progress> kProgresses = {
    {900, 800, 700, 600, 500, 400, 300, 200, 100, 0},
    {1003, 1000, 999, 998, 640, 640, 639, 100, 99, 98, 3, 0},
    {700, 501},
    {},
};

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

TEST_P(EveryReducer, SumsWhatIsFinalWhileTheRestIsWritten) {
  for (const int world_size : kWorldSizes) {
    for (const int64_t num_slots : {1, 3, 8}) {
      const at::Tensor at_the_end = reduce(GetParam(), world_size, num_slots, 1003);
      for (const Progress& progress : kProgresses)
        EXPECT_TRUE(
            at::equal(reduce_beside_backward(GetParam(), world_size, num_slots, 1003, 64, progress),
                      at_the_end))
            << num_slots << " slots on " << world_size << " ranks";
    }
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

TEST(TreeReducer, GivesTheSameBitsWhateverTheBucketsAndTheProgress) {
  for (const int64_t num_slots : {1, 3, 13}) {
    const at::Tensor alone = reduce("tree", 1, num_slots, 1003);
    for (const std::vector<std::string>& hosts : kHosts) {
      for (const int64_t bucket_elements : {20, 100}) {
        for (const Progress& progress : kProgresses)
          EXPECT_TRUE(
              at::equal(reduce_beside_backward("tree", static_cast<int>(hosts.size()), num_slots,
                                               1003, bucket_elements, progress, hosts),
                        alone))
              << num_slots << " slots on hosts " << fmt::format("{}", fmt::join(hosts, " "))
              << ", buckets of " << bucket_elements;
      }
    }
  }
}

TEST(TreeReducer, SendsABucketAsSoonAsItIsFinal) {
  // 1000 elements in buckets of 400: 600..999, 200..599, 0..199. Bytes of a scatter leave when it
  // begins, those of the gather when the next bucket begins: half of a bucket each.
  run_ranks(2, [](Communicator& world) {
    const auto reducer =
        reducers().at("tree")({.world = world, .num_elements = 1000, .bucket_elements = 400});
    reducer->begin_step(2);
    reducer->add_last(world.rank(), at::ones({1000}));
    const auto sent = [&] { return world.traffic().bytes_same_host; };
    reducer->advance(601);
    EXPECT_EQ(sent(), 0) << "one element is still written";
    reducer->advance(600);
    EXPECT_EQ(sent(), 800);
    reducer->advance(300);
    EXPECT_EQ(sent(), 800) << "goes on with the next bucket only";
    reducer->advance(200);
    EXPECT_EQ(sent(), 800 + 800 + 800);
    reducer->advance(0);
    EXPECT_EQ(sent(), 800 + 800 + 800 + 400 + 800);
    EXPECT_TRUE(at::equal(reducer->finalize(), at::full({1000}, 2.0)));
    EXPECT_EQ(sent(), 2 * 1000 * 4 / 2);
    EXPECT_EQ(world.traffic().collectives, 6);
  });
}

TEST(GradientBuckets, AreCountedFromTheEndAndAMultipleOfTheRanks) {
  EXPECT_EQ(gradient_buckets(1000, 2, 400),
            (std::vector<Bucket>{{600, 1000}, {200, 600}, {0, 200}}));
  EXPECT_EQ(gradient_buckets(1000, 3, 400),
            (std::vector<Bucket>{{601, 1000}, {202, 601}, {0, 202}}));
  EXPECT_EQ(gradient_buckets(8, 3, 1), (std::vector<Bucket>{{5, 8}, {2, 5}, {0, 2}}));
  EXPECT_EQ(gradient_buckets(1000, 2), (std::vector<Bucket>{{0, 1000}}));
  EXPECT_TRUE(gradient_buckets(0, 2).empty());
}

/// What one step sends, from every rank's own counters.
std::vector<SentBytes> bytes_of_a_step(int num_slots, int64_t num_elements,
                                       const std::vector<std::string>& hosts,
                                       int64_t bucket_elements = kBucketElements) {
  std::vector<SentBytes> sent(hosts.size());
  run_ranks(
      static_cast<int>(hosts.size()),
      [&](Communicator& world) {
        const auto reducer = reducers().at("tree")(
            {.world = world, .num_elements = num_elements, .bucket_elements = bucket_elements});
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
      for (const int64_t bucket : {kBucketElements, int64_t{100}}) {
        const std::vector<SentBytes> sent = bytes_of_a_step(num_slots, 1003, hosts, bucket);
        for (int rank = 0; rank < static_cast<int>(hosts.size()); ++rank) {
          const SentBytes planned =
              tree_bytes(HostLayout::of(hosts), rank, num_slots, 1003, bucket);
          EXPECT_EQ(sent[rank].same_host, planned.same_host);
          EXPECT_EQ(sent[rank].other_host, planned.other_host);
        }
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
