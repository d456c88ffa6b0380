#include "core/ranks/replicas.hpp"

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "core/ranks/odd_rank.hpp"
#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

/// What one rank holds after two steps: two tensors and their moments.
struct Replica {
  Replica() {
    params.add({"q_proj", "lora_A"}, {2, 3});
    params.add({"q_proj", "lora_B"}, {3, 2});
    params.allocate(at::kCPU);
    optimizer = optimizers().at("adamw")({.params = params.flat(), .config = {}});
    for (int step = 0; step < 2; ++step) optimizer->step(at::arange(12, at::kFloat), 0.1);
  }
  /// Element 7 is the second one of lora_B.
  void flip_a_bit_of_moment(size_t index) {
    NamedTensors state = optimizer->state();
    state[index].second.view(at::kInt)[7].bitwise_xor_(1);
    optimizer->restore(state, "test");
  }
  TrainableParams params;
  std::unique_ptr<Optimizer> optimizer;
};

/// The error of every rank after `change`, which must be one and the same.
std::string error_of_replicas(int world_size,
                              const std::function<void(Replica&, int rank)>& change) {
  std::vector<std::string> errors(world_size);
  run_ranks(world_size, [&](Communicator& world) {
    Replica replica;
    change(replica, world.rank());
    try {
      require_equal_replicas(world, replica.params, *replica.optimizer, /*step=*/2);
    } catch (const NumericsError& error) {
      errors[world.rank()] = error.what();
    }
  });
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  return errors[0];
}

TEST(Replicas, AreEqualWhenNothingHappened) {
  for (const int world_size : {1, 2, 5})
    EXPECT_EQ(error_of_replicas(world_size, [](Replica&, int) {}), "");
}

TEST(Replicas, NameTheRankAndTheTensorOfOneFlippedBit) {
  const std::string error = error_of_replicas(3, [](Replica& replica, int rank) {
    if (rank == 1) replica.params.flat().view(at::kInt)[7].bitwise_xor_(1);
  });
  EXPECT_EQ(error,
            "[rank 1/3 localhost step 2]: 'q_proj.lora_B' differs from rank 0's, expected "
            "the same bits on all ranks; resume from the last checkpoint; if it comes again, test "
            "that host's memory");
}

TEST(Replicas, NameTheRankThatIsAloneEvenWhereItIsRankZero) {
  const std::string error = error_of_replicas(3, [](Replica& replica, int rank) {
    if (rank == 0) replica.params.flat().view(at::kInt)[0].bitwise_xor_(1);
  });
  EXPECT_TRUE(
      error.starts_with("[rank 0/3 localhost step 2]: 'q_proj.lora_A' differs from rank 1's"))
      << error;
}

TEST(Replicas, SeeABitOfAMomentToo) {
  for (const size_t moment : {0, 1}) {
    const std::string error = error_of_replicas(2, [&](Replica& replica, int rank) {
      if (rank == 1) replica.flip_a_bit_of_moment(moment);
    });
    const std::string name = moment == 0 ? "exp_avg" : "exp_avg_sq";
    EXPECT_TRUE(error.starts_with(fmt::format(
        "[rank 1/2 localhost step 2]: '{} of q_proj.lora_B' differs from rank 0's", name)))
        << error;
  }
}

TEST(OddRank, IsTheLowestThatIsNotLikeTheMajority) {
  EXPECT_FALSE(find_odd_rank({"x", "x", "x"}));
  EXPECT_FALSE(find_odd_rank({"x"}));
  EXPECT_EQ(find_odd_rank({"x", "y", "x"})->rank, 1);
  EXPECT_EQ(find_odd_rank({"x", "y", "y"})->rank, 0);
  EXPECT_EQ(find_odd_rank({"x", "y", "y"})->reference, 1);
  EXPECT_EQ(find_odd_rank({"x", "y"})->rank, 1) << "a tie goes to the lowest rank";
}

}  // namespace
}  // namespace lora_dist
