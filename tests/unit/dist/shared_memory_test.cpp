#include "dist/backends/shared_memory.hpp"

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

/// Ranks that are threads, each with its own mapping of one segment.
void run_over_shared_memory(int world_size, const std::function<void(Transport&, int rank)>& body) {
  const SharedSegment segment = SharedSegment::create(shared_memory_bytes(world_size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto transport = make_shared_memory_transport(SharedSegment::open(segment.ticket()),
                                                          nullptr, rank, world_size);
      body(*transport, rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void wait_for(std::unique_ptr<Pending> pending) {
  EXPECT_TRUE(pending->wait_until(deadline_in(20)));
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const TransportError& error) {
    return error.what();
  }
  return "no error";
}

TEST(SharedSegment, HasNoNameInAnyFileSystem) {
  const auto names = [] {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm"))
      if (entry.path().filename().string().find("lora-dist") != std::string::npos)
        found.push_back(entry.path());
    return found;
  };
  const SharedSegment segment = SharedSegment::create(1000);
  const SharedSegment other = SharedSegment::open(segment.ticket());
  EXPECT_TRUE(names().empty());
  segment.data()[999] = std::byte{7};
  EXPECT_EQ(other.data()[999], std::byte{7});
}

TEST(SharedSegment, IsNotMistakenForOneOfAnotherMachineWithTheSameName) {
  const SharedSegment segment = SharedSegment::create(1000);
  const std::string ticket = segment.ticket();
  const std::string another = ticket.substr(0, ticket.rfind(' ')) + " 12345";
  EXPECT_EQ(error_of([&] { SharedSegment::open(another); }),
            "the maker of the shared segment is on another machine");
  EXPECT_EQ(error_of([&] { SharedSegment::open(""); }), "no shared segment was made");
}

TEST(SharedMemory, SumsInRankOrderAtAnySize) {
  // 2^24 + 1 is no fp32: which of the ones get lost depends on the order of the additions.
  const auto value = [](int rank, int64_t i) {
    return (rank + i) % 3 == 0 ? 16777216.0f : (rank + i) % 3 == 1 ? 1.0f : -16777216.0f;
  };
  for (const int world_size : {2, 3, 5, 8}) {
    run_over_shared_memory(world_size, [&](Transport& transport, int rank) {
      for (const int64_t size : {3, 4099, 300007}) {
        at::Tensor tensor = at::empty({size}, at::kFloat);
        for (int64_t i = 0; i < size; ++i) tensor.data_ptr<float>()[i] = value(rank, i);
        wait_for(transport.all_reduce(tensor, deadline_in(20)));
        int64_t wrong = 0;
        for (int64_t i = 0; i < size; ++i) {
          float sum = value(0, i);
          for (int other = 1; other < world_size; ++other) sum += value(other, i);
          wrong += tensor.const_data_ptr<float>()[i] != sum;
        }
        EXPECT_EQ(wrong, 0) << size << " elements on rank " << rank << " of " << world_size;
      }
    });
  }
}

TEST(SharedMemory, KeepsAShortMessageForPeersThatComeLater) {
  run_over_shared_memory(2, [](Transport& transport, int rank) {
    at::Tensor told = at::full({5}, rank, at::kByte);
    const auto pending = transport.broadcast(told, /*root=*/0, deadline_in(20));
    if (rank == 0) {
      // Never waits for it, and is away: the message is there since its operation started.
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      return;
    }
    EXPECT_TRUE(pending->wait_until(deadline_in(20)));
    EXPECT_EQ(told[4].item<int>(), 0);
  });
}

TEST(SharedMemory, EndsInAnErrorWhenAPeerLeavesBeforeTheEnd) {
  run_over_shared_memory(3, [](Transport& transport, int rank) {
    wait_for(transport.barrier(deadline_in(20)));
    if (rank == 2) return;
    const std::string error =
        error_of([&] { transport.barrier(deadline_in(20))->wait_until(deadline_in(20)); });
    EXPECT_EQ(error, fmt::format("lost a peer [process {} of this host has left]", getpid()));
  });
}

TEST(SharedMemory, DoesNotMindThatARankLeftWhichHasNothingToGive) {
  run_over_shared_memory(3, [](Transport& transport, int rank) {
    at::Tensor told = at::full({5}, rank, at::kByte);
    if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    const auto pending = transport.broadcast(told, /*root=*/0, deadline_in(20));
    if (rank == 1) return;  // long before rank 0 comes
    EXPECT_TRUE(pending->wait_until(deadline_in(20)));
    EXPECT_EQ(told[4].item<int>(), 0);
  });
}

TEST(SharedMemory, NamesTheProcessThatDied) {
  SharedSegment segment = SharedSegment::create(shared_memory_bytes(2));
  const pid_t child = fork();
  if (child == 0) {
    const auto transport = make_shared_memory_transport(std::move(segment), nullptr, 1, 2);
    transport->barrier(deadline_in(20))->wait_until(deadline_in(20));
    kill(getpid(), SIGKILL);
  }
  const auto transport = make_shared_memory_transport(std::move(segment), nullptr, 0, 2);
  wait_for(transport->barrier(deadline_in(20)));
  at::Tensor bucket = at::zeros({100000}, at::kFloat);
  const std::string error = error_of(
      [&] { transport->all_reduce(bucket, deadline_in(20))->wait_until(deadline_in(20)); });
  EXPECT_EQ(error, fmt::format("lost a peer [process {} of this host is gone]", child));
  waitpid(child, nullptr, 0);
}

TEST(SharedMemory, TellsAllRanksWhyOneOfThemGaveUp) {
  run_over_shared_memory(3, [](Transport& transport, int rank) {
    if (rank == 1) return transport.abandon("rank 1 found no disk space");
    EXPECT_EQ(error_of([&] { transport.barrier(deadline_in(20))->wait_until(deadline_in(20)); }),
              "rank 1 found no disk space");
  });
}

TEST(SharedMemory, KnowsWhoHasNotCome) {
  run_over_shared_memory(3, [](Transport& transport, int rank) {
    if (rank > 0) return std::this_thread::sleep_for(std::chrono::milliseconds(600));
    const auto pending = transport.barrier(deadline_in(0.2));
    EXPECT_FALSE(pending->wait_until(deadline_in(0.2)));
    EXPECT_EQ(transport.missing_ranks(), (std::vector<int>{1, 2}));
  });
}

TEST(SharedMemoryDeathTest, RanksInDifferentCollectivesAreOurOwnBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(run_over_shared_memory(2,
                                      [](Transport& transport, int rank) {
                                        at::Tensor tensor = at::zeros({3});
                                        if (rank == 0)
                                          wait_for(transport.all_reduce(tensor, deadline_in(20)));
                                        if (rank == 1)
                                          wait_for(transport.broadcast(tensor, 0, deadline_in(20)));
                                      }),
               "ranks are in different collectives");
}

}  // namespace
}  // namespace lora_dist
