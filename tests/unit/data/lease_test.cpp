#include "data/io/lease.hpp"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "tests/support/error_text.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

LeaseOptions here(const TempFolder& folder) {
  return {.output_dir = folder.path(),
          .self = this_process(),
          .bump_s = 0.02,
          .watch_s = 0.3,
          .poll_s = 0.05,
          .settle_s = 0};
}

/// A process that the kernel of this host cannot be asked about.
LeaseOptions elsewhere(const TempFolder& folder) {
  LeaseOptions options = here(folder);
  options.self.host = "h2";
  options.self.boot_id = "another boot";
  return options;
}

bool is_there(const TempFolder& folder) { return std::filesystem::exists(folder.file(kLeaseFile)); }

TEST(Lease, IsAFileForItsOwnerAloneThatGoesWhenTheRunEnds) {
  const TempFolder folder;
  {
    const auto lease = RunLease::acquire(here(folder));
    ASSERT_TRUE(is_there(folder));
    EXPECT_EQ(std::filesystem::status(folder.file(kLeaseFile)).permissions(),
              std::filesystem::perms(0600));
    lease->require_held();
    EXPECT_EQ(lease->epoch(), 1);
  }
  EXPECT_FALSE(is_there(folder));
}

TEST(Lease, NamesHostProcessAndStartOfALiveHolder) {
  const TempFolder folder;
  const LeaseOptions options = here(folder);
  const auto lease = RunLease::acquire(options);
  lease->name_run("00112233445566aa");
  const std::string text = error_text<LockedError>([&] { RunLease::acquire(options); });
  EXPECT_EQ(text,
            fmt::format("{}/: held by run 00112233445566aa (host {}, process {}, started {}), "
                        "which is alive, expected one run per folder; wait until it ends, "
                        "stop it, or choose another output_dir",
                        folder.path(), options.self.host, ::getpid(), options.self.started));
}

TEST(Lease, OfADeadProcessOfThisHostIsTakenOverAtOnce) {
  const TempFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    LeaseOptions options = here(folder);
    [[maybe_unused]] const RunLease* kept = RunLease::acquire(options).release();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(is_there(folder));
  LeaseOptions options = here(folder);
  options.watch_s = 3600;  // nothing to watch
  EXPECT_EQ(RunLease::acquire(options)->epoch(), 2);
}

TEST(Lease, OfAnotherHostIsRefusedWhileItsCounterMoves) {
  const TempFolder folder;
  const auto lease = RunLease::acquire(here(folder));
  LeaseOptions options = elsewhere(folder);
  options.watch_s = 60;
  EXPECT_THAT(error_text<LockedError>([&] { RunLease::acquire(options); }),
              testing::HasSubstr("which is alive"));
  lease->require_held();
}

TEST(Lease, OfAFrozenHolderIsTakenOverAndTheHolderFindsOut) {
  const TempFolder folder;
  LeaseOptions frozen = here(folder);
  frozen.bump_s = 3600;
  const auto former = RunLease::acquire(frozen);
  const auto lease = RunLease::acquire(elsewhere(folder));
  EXPECT_EQ(lease->epoch(), 2);
  lease->require_held();
  EXPECT_THAT(error_text<LockedError>([&] { former->require_held(); }),
              testing::HasSubstr("was taken over by another run (host h2"));
  EXPECT_TRUE(former->is_lost());
}

TEST(Lease, OfAHolderThatLostItIsNeverTakenAwayFromTheNewOne) {
  const TempFolder folder;
  LeaseOptions frozen = here(folder);
  frozen.bump_s = 3600;
  auto former = RunLease::acquire(frozen);
  const auto lease = RunLease::acquire(elsewhere(folder));
  former->name_run("00112233445566aa");  // writes into its own, nameless file
  former.reset();
  lease->require_held();
}

TEST(Lease, OfAJobThatWasPutBackIntoItsQueueIsTakenOverAtOnce) {
  const TempFolder folder;
  LeaseOptions first = here(folder);
  first.self.job = "slurm 7";
  const auto former = RunLease::acquire(first);
  LeaseOptions second = elsewhere(folder);
  second.watch_s = 3600;
  second.self.job = "slurm 7";
  second.self.job_start = 1;
  EXPECT_EQ(RunLease::acquire(second)->epoch(), 2);
}

TEST(Lease, IsPutBackWhereAPersonRemovedIt) {
  const TempFolder folder;
  const auto lease = RunLease::acquire(here(folder));
  std::filesystem::remove(folder.file(kLeaseFile));
  lease->require_held();
  EXPECT_TRUE(is_there(folder));
}

TEST(Lease, ThatCannotBeReadIsWatchedAndThenTakenOver) {
  const TempFolder folder;
  folder.write(kLeaseFile, "torn");
  RunLease::acquire(here(folder))->require_held();
}

}  // namespace
}  // namespace lora_dist
