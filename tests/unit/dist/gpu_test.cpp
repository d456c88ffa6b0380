// Thread ranks that share one GPU over `local`, each on a stream of its own, so that an order
// between streams that is not kept shows as a wrong value.
#include "tests/support/gpu.hpp"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include "core/summing/slot_tree.hpp"
#include "dist/reducers/reducer.hpp"
#include "dist/sharding/sharded_weights.hpp"
#include "tests/support/conformance.hpp"
#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

class RanksOnOneGpu : public testing::Test {
 protected:
  void SetUp() override {
    gpu_ = this_machines_gpu();
    if (!gpu_) GTEST_SKIP() << kNoGpu;
  }

  void run(int world_size, const std::function<void(Communicator&, at::Device)>& body) const {
    run_ranks(world_size, [&](Communicator& world) {
      const c10::StreamGuard own_stream(
          c10::impl::VirtualGuardImpl(gpu_->type()).getStreamFromGlobalPool(*gpu_));
      body(world, *gpu_);
    });
  }

  std::optional<at::Device> gpu_;
};

TEST_F(RanksOnOneGpu, CarryEveryCollective) {
  for (const int world_size : {2, 4}) run(world_size, check_collectives_on);
}

TEST_F(RanksOnOneGpu, CarryAnyNumberOfRowsBetweenTwoRanks) {
  for (const int world_size : {2, 4}) run(world_size, check_uneven_rows_on);
}

TEST_F(RanksOnOneGpu, ReduceToTheBitsOfTheHost) {
  const int64_t num_slots = 7, num_elements = 100003;
  const auto gradient = [&](int64_t slot) {
    return at::arange(num_elements, at::kFloat).add(0.1).div(slot + 3.0);
  };
  SlotTree tree;
  for (int64_t slot = 0; slot < num_slots; ++slot) tree.add({0, slot}, gradient(slot));
  const at::Tensor expected = tree.take_root();
  for (const int world_size : {2, 4}) {
    run(world_size, [&](Communicator& world, at::Device device) {
      const auto reducer =
          reducers().at("tree")({.world = world, .num_elements = num_elements, .device = device});
      for (int step = 0; step < 3; ++step) {  // buffers are used again
        reducer->begin_step(num_slots);
        const SlotRange range = deal_slots(num_slots, world.rank(), world_size);
        for (int64_t slot = range.first; slot < range.end; ++slot)
          reducer->add(slot, gradient(slot).to(device));
        const at::Tensor sum = reducer->finalize();
        EXPECT_EQ(sum.device(), device);
        EXPECT_TRUE(at::equal(sum.cpu(), expected)) << world_size << " ranks, step " << step;
      }
    });
  }
}

/// Weights of one size, each filled with its number.
class NumberedWeights final : public WeightSource {
 public:
  explicit NumberedWeights(int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      weights_.push_back({fmt::format("weight {}", i), &plain_format(at::kFloat), {257, 129}});
  }
  const std::string& location() const override { return location_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  StoredWeight acquire(size_t index) override {
    return at::full(weights_[index].shape, static_cast<double>(index), at::kFloat);
  }

 private:
  std::string location_ = "numbers";
  std::vector<WeightInfo> weights_;
};

TEST_F(RanksOnOneGpu, GatherWeightsThatAreWholeWhileTheirUnitRuns) {
  constexpr size_t kNumUnits = 6;
  for (const int world_size : {2, 4}) {
    run(world_size, [](Communicator& world, at::Device device) {
      NumberedWeights numbers(kNumUnits);
      WeightUnits units;
      std::vector<size_t> order;
      for (size_t unit = 0; unit < kNumUnits; ++unit)
        units.push_back({unit}), order.push_back(unit);
      const auto sharded = make_sharded_weights(numbers, units, world, device);
      for (int pass_number = 0; pass_number < 3; ++pass_number) {
        WeightPass pass(*sharded, order);
        std::vector<at::Tensor>
            sums;  // computed while the next unit is on its way, read at the end
        for (const size_t unit : order) {
          pass.enter_next_unit();
          const at::Tensor weight = sharded->acquire(unit).as_tensor();
          EXPECT_EQ(weight.device(), device);
          sums.push_back(weight.sum(at::kDouble));
        }
        for (const size_t unit : order)
          EXPECT_EQ(sums[unit].item<double>(), 257.0 * 129.0 * static_cast<double>(unit));
      }
    });
  }
}

}  // namespace
}  // namespace lora_dist
