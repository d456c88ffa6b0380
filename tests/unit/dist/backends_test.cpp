#include <unistd.h>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/error.hpp"
#include "dist/backends/backend.hpp"
#include "tests/support/conformance.hpp"
#include "tests/support/ranks.hpp"

namespace lora_dist {
namespace {

using RankMakers = std::vector<std::function<std::unique_ptr<Communicator>()>>;

/// A port that was free a moment ago.
int free_port() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(socket_fd, reinterpret_cast<sockaddr*>(&address), length);
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &length);
  close(socket_fd);
  return ntohs(address.sin_port);
}

BackendOptions thread_rank(int rank, int world_size, int port, bool shared_memory = true) {
  BackendOptions options;
  options.shared_memory = shared_memory;
  options.world.rank = options.world.local_rank = rank;
  options.world.world_size = options.world.local_world_size = world_size;
  options.world.host = "localhost";
  options.world.master_addr = "127.0.0.1";
  options.world.master_port = port;
  options.timeout_s = options.startup_timeout_s = 20;
  return options;
}

/// How the ranks of a backend can be threads of this process; empty where they cannot.
RankMakers thread_ranks(std::string_view backend, int world_size, bool shared_memory) {
  RankMakers makers;
  if (backend == "local") {
    auto world = std::make_shared<std::vector<std::unique_ptr<Communicator>>>(
        make_local_world(world_size, 20));
    for (int rank = 0; rank < world_size; ++rank)
      makers.push_back([=] { return std::move((*world)[rank]); });
  } else if (backend == "gloo") {
    const int port = free_port();
    for (int rank = 0; rank < world_size; ++rank)
      makers.push_back([=] {
        return backends().at("gloo")(thread_rank(rank, world_size, port, shared_memory));
      });
  }
  return makers;
}

std::string name_of_way(const std::tuple<std::string_view, bool>& way) {
  const auto& [backend, shared_memory] = way;
  return std::string(backend) + (shared_memory ? "_shared_memory" : "");
}

/// Each backend over its own means, and over the memory that ranks of one host share.
class EveryBackend : public testing::TestWithParam<std::tuple<std::string_view, bool>> {
 protected:
  void run(int world_size, const std::function<void(Communicator&)>& body) {
    const auto& [backend, shared_memory] = GetParam();
    run_ranks(thread_ranks(backend, world_size, shared_memory), body);
  }
  void SetUp() override {
    const auto& [backend, shared_memory] = GetParam();
    if (thread_ranks(backend, 1, shared_memory).empty())
      GTEST_SKIP() << "ranks of '" << backend << "' are processes; see tests/ranks";
    if (backend == "local" && shared_memory)
      GTEST_SKIP() << "threads of one process share memory as it is";
  }
};

TEST_P(EveryBackend, CarriesEveryCollectiveAtEverySizeAndWorldSize) {
  for (const int world_size : kWorldSizes) run(world_size, check_collectives);
}

TEST_P(EveryBackend, CarriesAnyNumberOfRowsBetweenTwoRanks) {
  for (const int world_size : kWorldSizes) run(world_size, check_uneven_rows);
}

TEST_P(EveryBackend, SplitsIntoPartsThatAreWorldsOfTheirOwn) {
  for (const int world_size : kWorldSizes) run(world_size, check_split);
}

TEST_P(EveryBackend, FailsInAllPartsOnceItFailedInOne) {
  run(4, [](Communicator& world) {
    const auto part = world.split(world.rank() / 2, {.name = "half"});
    world.barrier();  // all have their part before one aborts
    world.abort("rank 3 found no disk space");
    try {
      part->barrier({.name = "goodbye"});
      ADD_FAILURE() << "the world was aborted";
    } catch (const CommError& error) {
      const std::string start = fmt::format(
          "[rank {}/4 localhost] barrier #1 (goodbye, {}, half of ranks {}): rank 3 found no disk "
          "space",
          world.rank(), part->backend(), world.rank() < 2 ? "0 1" : "2 3");
      EXPECT_TRUE(std::string(error.what()).starts_with(start)) << error.what();
    }
  });
}

TEST_P(EveryBackend, CompletesOperationsInAnyOrderOfWaiting) {
  for (const int world_size : kWorldSizes) run(world_size, check_overlapping_work);
}

TEST_P(EveryBackend, CountsBytesByFormula) {
  for (const int world_size : kWorldSizes) run(world_size, check_traffic);
}

TEST_P(EveryBackend, NamesTheOperationThatTimedOut) {
  run(2, [](Communicator& world) {
    world.barrier();
    at::Tensor bucket = at::zeros({2048}, at::kFloat);
    if (world.rank() == 0) {
      try {
        world.all_reduce(bucket, {.name = "adapter gradient", .timeout_s = 0.3}).wait();
        ADD_FAILURE() << "rank 1 never came";
      } catch (const CommError& error) {
        const std::string start = fmt::format(
            "[rank 0/2 localhost] all_reduce #2 (adapter gradient, 2048 x float32, {}): no result "
            "after 0.3 s "
            "(comm_timeout_s), last complete #1",
            world.backend());
        EXPECT_TRUE(std::string(error.what()).starts_with(start)) << error.what();
      }
      EXPECT_THROW(world.barrier(), CommError);  // failed once is failed
    } else {
      // Stays alive, away from the collective, for longer than the limit.
      std::this_thread::sleep_for(std::chrono::milliseconds(900));
    }
  });
}

TEST_P(EveryBackend, CountsTheLimitWhileSomebodyWaits) {
  run(2, [](Communicator& world) {
    world.barrier();
    at::Tensor bucket = at::ones({1 << 20}, at::kFloat);
    Work work = world.all_reduce(bucket, {.timeout_s = 0.3});
    // As arithmetic that goes on meanwhile; it may be all ranks' and so nobody carries the sum on.
    std::this_thread::sleep_for(std::chrono::milliseconds(500 + 100 * world.rank()));
    work.wait();
    EXPECT_TRUE(at::equal(bucket, at::full({1 << 20}, 2.0)));
  });
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryBackend,
                         testing::Combine(testing::ValuesIn(backends().names()), testing::Bool()),
                         [](const auto& info) { return name_of_way(info.param); });

TEST(GlooBackend, SharesMemoryInsideEachHostOnceAWorldOfSeveralIsSplit) {
  const int port = free_port();
  RankMakers makers;
  for (int rank = 0; rank < 5; ++rank) {
    makers.push_back([=] {
      BackendOptions options = thread_rank(rank, 5, port);
      options.world.host = rank % 2 == 0 ? "h0" : "h1";
      options.world.local_world_size = rank % 2 == 0 ? 3 : 2;
      return backends().at("gloo")(options);
    });
  }
  run_ranks(std::move(makers), [](Communicator& world) {
    EXPECT_EQ(world.backend(), "gloo");
    EXPECT_EQ(world.hosts(), (std::vector<std::string>{"h0", "h1", "h0", "h1", "h0"}));
    const auto host = world.split(world.rank() % 2, {.name = "host"});
    EXPECT_EQ(host->backend(), "gloo over shared memory");
    check_collectives(*host);
    const auto across = world.split(world.rank() / 2, {.name = "peers"});
    EXPECT_EQ(across->backend(), "gloo");
    check_collectives(*across);
  });
}

TEST(LocalBackend, NamesTheMissingRanksWithTheirHosts) {
  run_ranks(3,
            [](Communicator& world) {
              if (world.rank() == 1) return;
              try {
                world.barrier({.timeout_s = 0.3});
                ADD_FAILURE() << "rank 1 never came";
              } catch (const CommError& error) {
                // One of the two gives up first; the other hears of it.
                const std::string text = error.what();
                EXPECT_TRUE(text.find("missing rank 1 (h2)") != std::string::npos ||
                            text.find("gave up on barrier #1 after 0.3 s") != std::string::npos)
                    << text;
              }
            },
            {.timeout_s = 5, .hosts = {"h1", "h2", "h2"}});
}

TEST(LocalBackend, AbortEndsPendingAndLaterOperationsOfAllRanks) {
  run_ranks(3, [](Communicator& world) {
    if (world.rank() == 2) return world.abort("rank 2 found no disk space");
    for (int again = 0; again < 2; ++again) {
      try {
        world.barrier();
        ADD_FAILURE() << "the world was aborted";
      } catch (const CommError& error) {
        EXPECT_NE(std::string(error.what()).find("rank 2 found no disk space"), std::string::npos)
            << error.what();
        EXPECT_EQ(error.exit_code(), 7);
      }
    }
  });
}

TEST(LocalBackend, AbortEndsAPartsPendingOperationOnOtherRanks) {
  run_ranks(4, [](Communicator& world) {
    const auto part = world.split(world.rank() % 2);
    world.barrier();  // all have their part before one aborts
    if (world.rank() == 3) return world.abort("rank 3 found no disk space");
    if (world.rank() == 2) return;
    EXPECT_THROW(part->barrier(), CommError);  // of ranks 0 2 and 1 3: nobody else comes
  });
}

TEST(LocalBackend, SumsInRankOrder) {
  // (1e8 + 1) + -1e8 is 0 in fp32, 1e8 + -1e8 + 1 would be 1.
  run_ranks(3, [](Communicator& world) {
    const std::vector<float> values = {1e8f, 1.0f, -1e8f};
    at::Tensor sum = at::full({1}, values[world.rank()], at::kFloat);
    world.all_reduce(sum).wait();
    EXPECT_EQ(sum.item<float>(), 0.0f);
  });
}

TEST(LocalBackend, CountsBytesPerLinkClass) {
  // Two hosts of two ranks: round the ring 0-1 and 2-3 stay on a host, 1-2 and 3-0 leave it.
  run_ranks(4,
            [](Communicator& world) {
              at::Tensor reduced = at::zeros({100}, at::kFloat);
              world.all_reduce(reduced).wait();  // 2 * 3/4 * 400 = 600 bytes to the next rank
              const bool next_is_here = world.rank() % 2 == 0;
              EXPECT_EQ(world.traffic().bytes_same_host, next_is_here ? 600 : 0);
              EXPECT_EQ(world.traffic().bytes_other_host, next_is_here ? 0 : 600);
              at::Tensor rows = at::zeros({4, 10}, at::kByte);
              world.all_to_all(at::empty_like(rows), rows)
                  .wait();  // one row to the neighbour, two to the other host
              EXPECT_EQ(world.traffic().bytes_same_host, (next_is_here ? 600 : 0) + 10);
              EXPECT_EQ(world.traffic().bytes_other_host, (next_is_here ? 0 : 600) + 20);
            },
            {.hosts = {"h1", "h1", "h2", "h2"}});
}

TEST(LocalBackend, IsOneProcessOnly) {
  BackendOptions options;
  options.world.world_size = 2;
  EXPECT_THROW(backends().at("local")(options), ConfigError);
}

TEST(LocalBackendDeathTest, RanksInDifferentCollectivesAreOurOwnBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(run_ranks(2,
                         [](Communicator& world) {
                           at::Tensor tensor = at::zeros({3});
                           if (world.rank() == 0) world.all_reduce(tensor).wait();
                           if (world.rank() == 1) world.broadcast(tensor, 0).wait();
                         }),
               "ranks are in different collectives");
}

TEST(NcclBackend, SaysWhatIsMissingWithoutAGpu) {
  if (!is_built_with_nccl()) GTEST_SKIP() << "NCCL is not in this build";
  BackendOptions options = thread_rank(1, 2, free_port());
  try {
    backends().at("nccl")(options);
    FAIL() << "this rank computes on the CPU";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "backend: 'nccl' with rank 1 on localhost, which computes on the CPU, expected a "
                 "GPU for every rank; use backend: mpi or gloo, or look for the GPU with "
                 "nvidia-smi");
  }
}

TEST(NcclBackend, SaysWhatIsMissingInABuildWithoutCuda) {
  if (is_built_with_nccl()) GTEST_SKIP() << "NCCL is in this build";
  try {
    backends().at("nccl")({});
    FAIL() << "this build has no CUDA";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "backend: 'nccl' is not in this build, which has no CUDA; use backend: mpi or "
                 "gloo, or build with the "
                 "`cuda` preset on a machine with a GPU");
  }
}

TEST(GlooBackend, GivesUpWhenTheOtherRanksNeverJoin) {
  BackendOptions options = thread_rank(0, 2, free_port());
  options.startup_timeout_s = 0.5;
  try {
    backends().at("gloo")(options);
    FAIL() << "rank 1 was never started";
  } catch (const CommError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("the ranks did not come together within 0.5 s (startup_timeout_s)"),
              std::string::npos)
        << error.what();
  }
}

TEST(RunRanks, ThrowsTheFirstExceptionAndEndsTheOthersWaiting) {
  try {
    run_ranks(4, [](Communicator& world) {
      if (world.rank() == 3)
        throw DataError({.where = "part-0007.h5", .found = "broken", .expected = {}, .fix = {}});
      world.barrier();
    });
    FAIL() << "rank 3 threw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 3);
  }
}

}  // namespace
}  // namespace lora_dist
