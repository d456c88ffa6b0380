// The conformance suite over processes: started by mpirun with 2 and 4 ranks, walks every backend
// of the registry. Each rank runs all tests in the same order, so a test is a collective; without
// mpirun they are skipped.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "dist/backends/mpi_session.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/run/device.hpp"
#include "tests/support/conformance.hpp"
#include "tests/support/gpu.hpp"

namespace lora_dist {
namespace {

/// MPI lives as long as the program: it cannot start twice in one process.
class MpiForTheWholeProgram : public testing::Environment {
 public:
  void SetUp() override {
    const WorldInfo world = detect_world();
    if (world.launcher == "mpirun") session_ = MpiSession::join(world);
  }
  void TearDown() override {
    if (testing::UnitTest::GetInstance()->Failed() && session_)
      session_->leave_without_finalizing();
    session_.reset();
  }

 private:
  std::shared_ptr<MpiSession> session_;
};
const testing::Environment* const kMpi =
    testing::AddGlobalTestEnvironment(new MpiForTheWholeProgram);

std::string name_of_way(const std::tuple<std::string_view, bool>& way) {
  const auto& [backend, shared_memory] = way;
  return std::string(backend) + (shared_memory ? "_shared_memory" : "");
}

/// Each backend over its own means, and over the memory that ranks of one host share.
class EveryBackend : public testing::TestWithParam<std::tuple<std::string_view, bool>> {
 protected:
  void SetUp() override {
    const WorldInfo world = detect_world();
    if (world.launcher != "mpirun") GTEST_SKIP() << "needs mpirun -n 2 or more";
    DistributionConfig config;
    config.comm_timeout_s = 60;
    config.startup_timeout_s = 60;
    const auto& [backend, shared_memory] = GetParam();
    BackendOptions options = backend_options(world, config);
    options.shared_memory = shared_memory;
    if (backend == "nccl") {
      if (shared_memory) GTEST_SKIP() << "what NCCL exchanges lies on GPUs";
      options.device = choose_device("auto", world.local_rank);
    }
    try {
      world_ = backends().at(backend)(options);
      if (shared_memory) {
        EXPECT_EQ(world_->backend(), std::string(backend) + " over shared memory");
      }
    } catch (const ConfigError& error) {
      GTEST_SKIP() << error.what();
    }
  }
  std::unique_ptr<Communicator> world_;
};

TEST_P(EveryBackend, CarriesEveryCollectiveAtEverySize) { check_collectives(*world_); }

TEST_P(EveryBackend, CarriesEveryCollectiveOfTensorsOnAGpu) {
  const at::Device device = choose_device("auto", detect_world().local_rank);
  if (!device.is_cuda()) GTEST_SKIP() << kNoGpu;
  check_collectives_on(*world_, device);
  check_uneven_rows_on(*world_, device);
}

TEST_P(EveryBackend, CarriesAnyNumberOfRowsBetweenTwoRanks) { check_uneven_rows(*world_); }

TEST_P(EveryBackend, SplitsIntoPartsThatAreWorldsOfTheirOwn) { check_split(*world_); }

TEST_P(EveryBackend, CompletesOperationsInAnyOrderOfWaiting) { check_overlapping_work(*world_); }

TEST_P(EveryBackend, CountsBytesByFormula) { check_traffic(*world_); }

TEST_P(EveryBackend, ReducesToTheBitsOfOneRank) {
  const int64_t num_slots = 7, num_elements = 1001;
  const auto gradient = [&](int64_t slot) {
    return at::arange(num_elements, at::kFloat).add(0.1).div(slot + 3.0);
  };
  std::vector<at::Tensor> slots;
  for (int64_t slot = 0; slot < num_slots; ++slot) slots.push_back(gradient(slot));
  const at::Tensor expected =
      ((slots[0] + slots[1]) + (slots[2] + slots[3])) + ((slots[4] + slots[5]) + slots[6]);

  const auto reducer = reducers().at("tree")({.world = *world_, .num_elements = num_elements});
  reducer->begin_step(num_slots);
  const SlotRange range = deal_slots(num_slots, world_->rank(), world_->world_size());
  for (int64_t slot = range.first; slot < range.end; ++slot) reducer->add(slot, gradient(slot));
  EXPECT_TRUE(at::equal(reducer->finalize(), expected));

  // The same in buckets, while the last slots' gradients are written; ranks are not equally fast.
  const auto bucketed = reducers().at("tree")(
      {.world = *world_, .num_elements = num_elements, .bucket_elements = 100});
  bucketed->begin_step(num_slots);
  const at::Tensor last = at::zeros({num_elements});
  for (int64_t slot = range.first; slot + 1 < range.end; ++slot)
    bucketed->add(slot, gradient(slot));
  if (range.size() > 0) bucketed->add_last(range.end - 1, last);
  for (const int64_t first : {950, 901, 640, 300, 100, 50, 0}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(world_->rank()));
    if (range.size() > 0)
      last.narrow(0, first, num_elements - first)
          .copy_(gradient(range.end - 1).narrow(0, first, num_elements - first));
    bucketed->advance(first);
  }
  EXPECT_TRUE(at::equal(bucketed->finalize(), expected));
}

// Run by CTest on its own, two processes and this one case: afterwards a rank can only leave, as
// the launcher makes it.
TEST_P(EveryBackend, DISABLED_NamesTheOperationThatTimedOutAndLeaves) {
  if (world_->rank() != 0) {
    std::this_thread::sleep_for(
        std::chrono::seconds(60));  // mpirun ends this rank when rank 0 has left
    return;
  }
  at::Tensor bucket = at::zeros({2048}, at::kFloat);
  try {
    world_->all_reduce(bucket, {.name = "adapter gradient", .timeout_s = 0.5}).wait();
  } catch (const CommError& error) {
    world_.reset();  // must neither wait for the peer nor touch what the library still uses
    std::fprintf(stderr, "error: %s\n", error.what());
    _exit(error.exit_code());
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryBackend,
                         testing::Combine(testing::ValuesIn(backends().names()), testing::Bool()),
                         [](const auto& info) { return name_of_way(info.param); });

TEST(MpiBackend, SendsBlocksBeyondTheLargestCount) {
  if (detect_world().launcher != "mpirun") GTEST_SKIP() << "needs mpirun -n 2 or more";
  int rank = 0;
  mpi().comm_rank(mpi().comm_world, &rank);
  at::Tensor told = at::full({1003}, rank, at::kByte);
  if (rank == 0) told = at::arange(1003, at::kLong).remainder(251).to(at::kByte);
  const ByteBlock block(told.numel(), /*largest_count=*/100);
  mpi_check(mpi().bcast(told.data_ptr(), /*count=*/1, block.type(), 0, mpi().comm_world),
            "MPI_Bcast");
  EXPECT_TRUE(at::equal(told, at::arange(1003, at::kLong).remainder(251).to(at::kByte)));
}

}  // namespace
}  // namespace lora_dist
