// The rules around one communicator of NCCL, asked with a library that answers as it is told; and,
// where there is a GPU, NCCL itself in a world of one.
#ifdef LORA_DIST_CUDA

#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "dist/backends/nccl/communicator.hpp"
#include "dist/backends/nccl/transport.hpp"
#include "tests/support/gpu.hpp"

namespace lora_dist {
namespace {

using testing::HasSubstr;

/// What the library below was asked, and what it answers.
struct Script {
  std::atomic<int> polls_until_ready{0};  // of the call under way
  int polls_of_a_split = 0;
  std::atomic<ncclResult_t> state{ncclSuccess};
  std::atomic<int> num_made{0}, num_finalized{0}, num_destroyed{0}, num_aborted{0};
  ncclComm_t part = reinterpret_cast<ncclComm_t>(uintptr_t{0x20});  // what a split makes
};
Script* script = nullptr;  // NCCL's functions take no context

ncclResult_t begin_call() { return script->polls_until_ready > 0 ? ncclInProgress : ncclSuccess; }

NcclLibrary scripted_library() {
  NcclLibrary nccl{};
  nccl.comm_init_rank_config = [](ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t* config) {
    EXPECT_EQ(config->blocking, 0);
    *comm = reinterpret_cast<ncclComm_t>(uintptr_t{0x10});
    ++script->num_made;
    return begin_call();
  };
  nccl.comm_split = [](ncclComm_t, int colour, int, ncclComm_t* part, ncclConfig_t*) {
    *part = colour == NCCL_SPLIT_NOCOLOR ? nullptr : script->part;
    if (*part) ++script->num_made;
    script->polls_until_ready = script->polls_of_a_split;
    return begin_call();
  };
  nccl.comm_get_async_error = [](ncclComm_t, ncclResult_t* state) {
    *state = script->polls_until_ready > 0 ? ncclInProgress : script->state.load();
    if (script->polls_until_ready > 0) --script->polls_until_ready;
    return ncclSuccess;
  };
  nccl.comm_finalize = [](ncclComm_t) { return ++script->num_finalized, ncclSuccess; };
  nccl.comm_destroy = [](ncclComm_t) { return ++script->num_destroyed, ncclSuccess; };
  nccl.comm_abort = [](ncclComm_t) { return ++script->num_aborted, ncclSuccess; };
  nccl.get_error_string = [](ncclResult_t result) {
    return result == ncclRemoteError ? "remote process exited" : "invalid usage";
  };
  nccl.get_last_error = [](ncclComm_t) { return "socket closed"; };
  return nccl;
}

class ScriptedNccl : public testing::Test {
 protected:
  void SetUp() override { script = &script_; }
  void TearDown() override {
    EXPECT_TRUE(poll_until(deadline_in(5), [this] {
      return script_.num_destroyed + script_.num_aborted == script_.num_made;
    })) << "a communicator was left behind, or ended twice";
    script = nullptr;
  }

  std::shared_ptr<NcclCommunicator> join() {
    return NcclCommunicator::join(nccl_, ncclUniqueId{}, 0, 2, at::kCPU, deadline_in(0.2));
  }
  /// Abort runs in a thread of its own.
  void expect_one_abort() {
    EXPECT_TRUE(poll_until(deadline_in(5), [this] { return script_.num_aborted == 1; }));
    EXPECT_EQ(script_.num_finalized, 0);
    EXPECT_EQ(script_.num_destroyed, 0);
  }

  Script script_;
  const NcclLibrary nccl_ = scripted_library();
};

const auto kQueued = [](ncclComm_t) { return ncclInProgress; };

TEST_F(ScriptedNccl, WaitsUntilACallHasQueuedItsWork) {
  script_.polls_until_ready = 3;
  const auto comm = join();
  script_.polls_until_ready = 3;
  EXPECT_TRUE(comm->queue(kQueued, "ncclAllReduce", deadline_in(5)));
  EXPECT_EQ(script_.polls_until_ready, 0);
}

TEST_F(ScriptedNccl, SaysSoWhenACallIsNotThroughAtItsDeadline) {
  const auto comm = join();
  script_.polls_until_ready = 1 << 30;
  EXPECT_FALSE(comm->queue(kQueued, "ncclAllReduce", deadline_in(0.05)));
  script_.polls_until_ready = 0;
}

TEST_F(ScriptedNccl, GivesUpOnRanksThatNeverJoin) {
  script_.polls_until_ready = 1 << 30;
  EXPECT_THROW(join(), TransportError);
  expect_one_abort();
}

TEST_F(ScriptedNccl, TellsAFailureInNcclsOwnWords) {
  const auto comm = join();
  script_.state = ncclRemoteError;
  try {
    comm->require_whole();
    FAIL() << "a peer is gone";
  } catch (const TransportError& error) {
    EXPECT_THAT(error.what(), HasSubstr("[remote process exited: socket closed]"));
  }
}

TEST_F(ScriptedNccl, TellsARefusalFromAFailure) {
  script_.state = ncclInvalidUsage;
  EXPECT_THROW(join(), NcclRefusal);
  expect_one_abort();
}

TEST_F(ScriptedNccl, RepeatsWhyItWasGivenUpAndAbortsOnce) {
  {
    const auto comm = join();
    comm->give_up("rank 3 found no disk space");
    comm->give_up("another reason");
    const std::vector<std::function<void()>> uses = {
        [&] { comm->require_whole(); }, [&] { comm->require_not_given_up(); },
        [&] { comm->queue(kQueued, "ncclAllReduce", deadline_in(5)); }};
    for (const auto& use : uses) {
      try {
        use();
        ADD_FAILURE() << "it was given up";
      } catch (const TransportError& error) {
        EXPECT_STREQ(error.what(), "rank 3 found no disk space");
      }
    }
  }
  expect_one_abort();
}

TEST_F(ScriptedNccl, IsFinalizedAtAGoodEnd) {
  join().reset();
  EXPECT_EQ(script_.num_finalized, 1);
  EXPECT_EQ(script_.num_destroyed, 1);
  EXPECT_EQ(script_.num_aborted, 0);
}

TEST_F(ScriptedNccl, IsAbortedWhenAnExceptionEndsTheRun) {
  try {
    const auto comm = join();
    throw std::runtime_error("disk full");
  } catch (const std::runtime_error&) {
  }
  expect_one_abort();
}

TEST_F(ScriptedNccl, SplitsIntoPartsAndNothingForARankThatIsAlone) {
  const auto comm = join();
  EXPECT_NE(comm->split(/*colour=*/0, /*rank=*/0, deadline_in(5)), nullptr);
  EXPECT_EQ(comm->split(NCCL_SPLIT_NOCOLOR, /*rank=*/0, deadline_in(5)), nullptr);
}

TEST_F(ScriptedNccl, AbortsAPartThatIsNotMadeInTime) {
  const auto comm = join();
  script_.polls_of_a_split = 1 << 30;
  EXPECT_THROW(comm->split(/*colour=*/0, /*rank=*/0, deadline_in(0.05)), TransportError);
  EXPECT_TRUE(poll_until(deadline_in(5), [this] { return script_.num_aborted == 1; }));
  script_.polls_until_ready = 0;
}

/// NCCL refuses two ranks on one GPU, so larger worlds need several: tests/ranks under mpirun.
TEST(NcclTransport, CarriesEveryCollectiveInAWorldOfOne) {
  const std::optional<at::Device> gpu = this_machines_gpu();
  if (!gpu) GTEST_SKIP() << kNoGpu;
  const Deadline deadline = deadline_in(60);
  const auto nccl = make_nccl_transport({.id = new_nccl_id(), .device = *gpu}, deadline);
  const at::Tensor values = at::arange(100003, at::TensorOptions(at::kFloat).device(*gpu));
  const auto expect_values = [&](const at::Tensor& result) {
    EXPECT_TRUE(at::equal(result.view({-1}).view(at::kFloat), values));
  };

  at::Tensor tensor = values.clone();
  EXPECT_TRUE(nccl->broadcast(tensor, 0, deadline)->wait_until(deadline));
  expect_values(tensor);
  EXPECT_TRUE(nccl->all_reduce(tensor, deadline)->wait_until(deadline));
  expect_values(tensor);
  at::Tensor gathered = at::zeros_like(values).unsqueeze(0);
  EXPECT_TRUE(nccl->all_gather(gathered, values, deadline)->wait_until(deadline));
  expect_values(gathered);
  const at::Tensor rows = values.view(at::kByte).view({1, -1});
  at::Tensor exchanged = at::zeros_like(rows);
  EXPECT_TRUE(nccl->all_to_all(exchanged, rows, {{1}, {1}}, deadline)->wait_until(deadline));
  expect_values(exchanged);
  EXPECT_TRUE(nccl->barrier(deadline)->wait_until(deadline));
  EXPECT_EQ(nccl->split({0}, deadline), nullptr);
}

TEST(NcclTransport, BeginsBehindWhatItsThreadHasQueued) {
  const std::optional<at::Device> gpu = this_machines_gpu();
  if (!gpu) GTEST_SKIP() << kNoGpu;
  const Deadline deadline = deadline_in(60);
  const auto nccl = make_nccl_transport({.id = new_nccl_id(), .device = *gpu}, deadline);
  at::Tensor output = at::zeros({1, 1 << 22}, at::TensorOptions(at::kFloat).device(*gpu));
  for (int round = 1; round <= 10; ++round) {
    at::Tensor input = at::zeros({1 << 22}, output.options());
    for (int i = 0; i < 50; ++i) input.add_(round);  // still running when the gather is started
    auto pending = nccl->all_gather(output, input, deadline);
    EXPECT_TRUE(pending->wait_until(deadline));
    EXPECT_TRUE(at::equal(output[0], at::full_like(input, 50.0 * round)));
  }
}

}  // namespace
}  // namespace lora_dist

#endif  // LORA_DIST_CUDA
