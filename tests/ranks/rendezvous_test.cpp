#include "dist/backends/rendezvous.hpp"

#include <unistd.h>

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"

namespace lora_dist {
namespace {

int free_port() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t length = sizeof address;
  bind(listener, reinterpret_cast<sockaddr*>(&address), length);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  close(listener);
  return ntohs(address.sin_port);
}

/// What rank 0 gathers when each rank says "of <rank>", the last one nothing.
std::vector<std::string> texts_of(int world_size) {
  std::vector<std::string> texts(world_size);
  for (int rank = 0; rank + 1 < world_size; ++rank) texts[rank] = fmt::format("of {}", rank);
  return texts;
}

void expect_gather(Rendezvous& rendezvous, int world_size) {
  const int rank = rendezvous.rank();
  const std::vector<std::string> all = rendezvous.at_rank_zero(texts_of(world_size)[rank]);
  EXPECT_EQ(all, rank == 0 ? texts_of(world_size) : std::vector<std::string>());
}

TEST(Rendezvous, TellsEveryRankTheTextsOfRankZeroAndRankZeroThoseOfAll) {
  const int port = free_port();
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([=] {
      BackendOptions options{.startup_timeout_s = 20};
      options.world = {.rank = rank, .world_size = 3, .master_addr = "127.0.0.1"};
      options.world.master_port = port;
      const auto rendezvous = join_rendezvous(options);
      EXPECT_EQ(rendezvous->from_rank_zero(rank == 0 ? "first" : "not heard"), "first");
      EXPECT_EQ(rendezvous->from_rank_zero(rank == 0 ? std::string(3'000'000, 'x') : ""),
                std::string(3'000'000, 'x'));
      expect_gather(*rendezvous, 3);
      EXPECT_EQ(rendezvous->from_rank_zero(""), "");
      expect_gather(*rendezvous, 3);
    });
  }
  for (std::thread& rank : ranks) rank.join();
}

TEST(Rendezvous, NamesAHostOfRankZeroThatNobodyKnowsAtOnce) {
  BackendOptions options{.startup_timeout_s = 300};
  options.world = {.rank = 1, .world_size = 2, .host = "h1", .launcher = "env"};
  options.world.master_addr = "nobody.invalid";
  options.world.master_port = 29500;
  const auto error = [&]() -> std::string {
    try {
      join_rendezvous(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(), testing::StartsWith("[rank 1/2 h1]: 'nobody.invalid', rank 0's host by "
                                           "MASTER_ADDR, is not known here ("));
  options.names_come_late = true;
  options.startup_timeout_s = 0.5;
  EXPECT_THAT(error(), testing::HasSubstr("did not come together within 0.5 s"));
}

TEST(Rendezvous, LeavesAServerThatIsNotRankZeroWhenTheTimeIsOver) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);  // takes connections and says nothing
  sockaddr_in address{.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 8), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  BackendOptions options{.startup_timeout_s = 0.5};
  options.world = {.rank = 1, .world_size = 2, .master_addr = "127.0.0.1"};
  for (const int port : {static_cast<int>(ntohs(address.sin_port)), free_port()}) {
    options.world.master_port = port;
    try {
      join_rendezvous(options);
      ADD_FAILURE() << "nothing answered";
    } catch (const CommError& error) {
      EXPECT_THAT(error.what(),
                  testing::HasSubstr(fmt::format("did not come together within 0.5 s (startup_"
                                                 "timeout_s) [nothing of this run answers at "
                                                 "127.0.0.1:{}]",
                                                 port)));
    }
  }
  close(listener);
}

// Under mpirun (ranks-mpirun-2 and -4) this goes by MPI; alone there is nobody to tell.
TEST(Rendezvous, LeavesMpiToTheBackendThatFollows) {
  const WorldInfo world = detect_world();
  if (world.launcher != "mpirun") GTEST_SKIP() << "runs under mpirun only";
  const auto rendezvous = join_rendezvous(rendezvous_options(world, {}));
  EXPECT_EQ(rendezvous->from_rank_zero(fmt::format("rank {}", world.rank)), "rank 0");
  expect_gather(*rendezvous, world.world_size);
  const auto joined = backends().at("mpi")({.world = world});
  EXPECT_EQ(all_gather_text(*joined, "here").size(), static_cast<size_t>(world.world_size));
}

}  // namespace
}  // namespace lora_dist
