// What is said when mpirun ends before a rank could speak.
#include "launcher/environments/failed_start.hpp"

#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

/// "<exit code> <text>", or "nothing".
std::string explanation(const LaunchRequest& request, int mpirun_code) {
  try {
    explain_failed_start(request, mpirun_code);
  } catch (const Error& error) {
    return fmt::format("{} {}", error.exit_code(), error.what());
  }
  return "nothing";
}

TEST(FailedStart, CountsTheSlotsOfTheHosts) {
  EXPECT_EQ(explanation({.num_ranks = 4, .hosts = "a:2,b", .hostfile = {}}, 1),
            "2 --hosts: 3 slots for 4 ranks; give the hosts more slots (host:8, slots=8) or lower "
            "--ranks");
  EXPECT_EQ(explanation({.num_ranks = 3, .hosts = "a:2,b", .hostfile = {}}, 1), "nothing");
}

TEST(FailedStart, ReadsTheSlotsOfAHostfile) {
  const TempFolder folder;
  const std::string path =
      folder.write("hosts", "# two hosts\n\na slots=2 max_slots=4\nb:1   # the small one\n");
  EXPECT_EQ(explanation({.num_ranks = 4, .hosts = {}, .hostfile = path}, 1),
            "2 --hostfile: 3 slots for 4 ranks; give the hosts more slots (host:8, slots=8) or "
            "lower --ranks");
  // How many cores host c has is for mpirun to know.
  folder.write("hosts", "a slots=2\nc\n");
  EXPECT_EQ(explanation({.num_ranks = 4, .hosts = {}, .hostfile = path}, 1), "nothing");
}

TEST(FailedStart, NamesAHostfileThatIsNotThere) {
  EXPECT_EQ(explanation({.num_ranks = 2, .hosts = {}, .hostfile = "/nowhere/hosts"}, 1),
            "2 --hostfile: cannot read '/nowhere/hosts'; give it a file with lines such as "
            "`host1 slots=8`");
}

TEST(FailedStart, NamesTheHostWithoutAnAddress) {
  EXPECT_EQ(
      explanation({.num_ranks = 2, .hosts = "localhost:1,no.such.host.invalid:1", .hostfile = {}},
                  255),
      "2 --hosts: host 'no.such.host.invalid' has no address; correct its name, or add it to "
      "DNS or /etc/hosts");
}

TEST(FailedStart, AsksForSshWhereAllHostsHaveAddresses) {
  EXPECT_EQ(
      explanation({.num_ranks = 2, .hosts = "localhost:2", .hostfile = {}}, 255),
      "7 --hosts: mpirun cannot start on all of localhost; `ssh HOST true` must work for each "
      "without a password, and Open MPI and lora-dist lie at the same place");
}

TEST(FailedStart, LeavesTheCodesOfRanksAlone) {
  for (const int code : {0, 2, 7, 75, 137})
    EXPECT_EQ(
        explanation({.num_ranks = 9, .hosts = "no.such.host.invalid:1", .hostfile = {}}, code),
        "nothing");
  EXPECT_EQ(explanation({.num_ranks = 2, .hosts = {}, .hostfile = {}}, 1), "nothing");
}

}  // namespace
}  // namespace lora_dist
