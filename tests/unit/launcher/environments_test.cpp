#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/slurm_lists.hpp"
#include "launcher/threads.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

/// The variables that detection reads, empty at first and as they were at the end.
class Environment : public testing::Test {
 protected:
  void SetUp() override {
    for (char** entry = environ; *entry; ++entry) saved_.emplace_back(*entry);
    for (const std::string& assignment : saved_) {
      const std::string name = assignment.substr(0, assignment.find('='));
      if (name.starts_with("OMPI_") || name.starts_with("SLURM_") ||
          name.starts_with("TORCHELASTIC_"))
        unsetenv(name.c_str());
    }
    for (const char* name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
                             "MASTER_PORT", "PMIX_RANK", "GLOO_SOCKET_IFNAME"})
      unsetenv(name);
  }
  void TearDown() override {
    clearenv();
    for (const std::string& assignment : saved_) {
      const size_t equals = assignment.find('=');
      setenv(assignment.substr(0, equals).c_str(), assignment.substr(equals + 1).c_str(), 1);
    }
  }
  static void set(const std::map<std::string, std::string>& values) {
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
  }
  static void set_mpirun(const std::string& rank, const std::string& size) {
    set({{"OMPI_COMM_WORLD_RANK", rank},
         {"OMPI_COMM_WORLD_SIZE", size},
         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  }
  static void set_torchrun() {
    set({{"RANK", "5"},
         {"WORLD_SIZE", "8"},
         {"LOCAL_RANK", "1"},
         {"LOCAL_WORLD_SIZE", "4"},
         {"MASTER_ADDR", "h1"},
         {"MASTER_PORT", "29501"}});
  }
  static void set_slurm_step() {
    set({{"SLURM_PROCID", "5"},
         {"SLURM_STEP_ID", "0"},
         {"SLURM_STEP_NUM_TASKS", "7"},
         {"SLURM_LOCALID", "1"},
         {"SLURM_NODEID", "1"},
         {"SLURM_STEP_TASKS_PER_NODE", "4,3"},
         {"SLURM_STEP_NODELIST", "gpu[03-04]"},
         {"SLURM_JOB_ID", "123456"}});
  }
  static std::string error_text() {
    try {
      detect_world();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

 private:
  std::vector<std::string> saved_;
};

TEST_F(Environment, IsAloneWithoutALauncher) {
  const WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "alone");
  EXPECT_EQ(world.rank, 0);
  EXPECT_EQ(world.world_size, 1);
  EXPECT_FALSE(world.host.empty());
}

TEST_F(Environment, ReadsWhatMpirunSets) {
  set_mpirun("3", "4");
  const WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "mpirun");
  EXPECT_EQ(world.rank, 3);
  EXPECT_EQ(world.world_size, 4);
  EXPECT_EQ(world.local_rank, 1);
  EXPECT_EQ(world.local_world_size, 2);
  EXPECT_EQ(world.master_addr, "");
}

TEST_F(Environment, ReadsWhatSlurmSetsInsideAStep) {
  set_slurm_step();
  const WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "srun");
  EXPECT_EQ(world.rank, 5);
  EXPECT_EQ(world.world_size, 7);
  EXPECT_EQ(world.local_rank, 1);
  EXPECT_EQ(world.local_world_size, 3);
  EXPECT_EQ(world.master_addr, "gpu03");
  EXPECT_EQ(world.master_port, 13456);
}

TEST_F(Environment, IsAloneInABatchScriptAndInAnInteractiveStep) {
  set({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "0"}});
  EXPECT_EQ(detect_world().launcher, "alone");
  set({{"SLURM_STEP_ID", "4294967290"}});  // SLURM_INTERACTIVE_STEP
  EXPECT_EQ(detect_world().launcher, "alone");
}

TEST_F(Environment, ReadsWhatTorchrunSets) {
  set_torchrun();
  const WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "torchrun");
  EXPECT_EQ(world.rank, 5);
  EXPECT_EQ(world.world_size, 8);
  EXPECT_EQ(world.local_rank, 1);
  EXPECT_EQ(world.local_world_size, 4);
  EXPECT_EQ(world.master_addr, "h1");
  EXPECT_EQ(world.master_port, 29501);
}

TEST_F(Environment, PrefersMpirunThenSlurmThenTorchrun) {
  EXPECT_THAT(environments().names(), ElementsAre("mpirun", "slurm", "torchrun", "alone"));
  set_torchrun();
  set_slurm_step();
  EXPECT_EQ(detect_world().launcher, "srun");
  set_mpirun("0", "2");
  EXPECT_EQ(detect_world().launcher, "mpirun");
}

TEST_F(Environment, RefusesARankOutOfRange) {  // museum 24
  set_mpirun("5", "4");
  EXPECT_EQ(error_text(),
            "environment: OMPI_COMM_WORLD_RANK 5 with size 4; start again under one launcher");
}

TEST_F(Environment, RefusesWhatIsNotANumber) {
  set_mpirun("one", "4");
  EXPECT_EQ(error_text(),
            "environment: OMPI_COMM_WORLD_RANK 'one', expected a whole number; unset it or start "
            "again under one "
            "launcher");
}

TEST_F(Environment, NamesTheVariableThatIsMissing) {
  set({{"OMPI_COMM_WORLD_RANK", "0"}});
  EXPECT_EQ(error_text(),
            "environment: OMPI_COMM_WORLD_RANK is set but OMPI_COMM_WORLD_SIZE is not; start again "
            "under one launcher");
  unsetenv("OMPI_COMM_WORLD_RANK");
  set_torchrun();
  unsetenv("MASTER_ADDR");
  EXPECT_THAT(error_text(), HasSubstr("MASTER_ADDR is not; start with `torchrun --no-python`"));
}

TEST_F(Environment, GivesGlooWhatItNeeds) {
  set_torchrun();
  set({{"GLOO_SOCKET_IFNAME", "eth1,eth2"},
       {"TORCHELASTIC_USE_AGENT_STORE", "True"},
       {"TORCHELASTIC_RESTART_COUNT", "2"}});
  const BackendOptions options = backend_options(detect_world(), {});
  EXPECT_EQ(options.network_interface, "eth1");
  EXPECT_TRUE(options.store_is_served);
  EXPECT_EQ(options.store_prefix, "/lora-dist/2");
  EXPECT_EQ(options.timeout_s, 60);  // two hosts
  EXPECT_EQ(backend_options({}, {}).timeout_s, 10);
  DistributionConfig config;
  config.comm_timeout_s = 3;
  EXPECT_EQ(backend_options({}, config).timeout_s, 3);
}

TEST_F(Environment, ChoosesTheBackendByTheLauncher) {
  EXPECT_EQ(choose_backend(detect_world(), "auto"), "local");
  EXPECT_EQ(choose_backend(detect_world(), "mpi"), "local");  // a world of one never touches MPI
  set_torchrun();
  EXPECT_EQ(choose_backend(detect_world(), "auto"), "gloo");
  set_mpirun("0", "2");
  EXPECT_EQ(choose_backend(detect_world(), "auto"), "mpi");
  EXPECT_EQ(choose_backend(detect_world(), "gloo"), "gloo");
}

TEST_F(Environment, TakesMpiUnderSrunOnlyWhereSrunBringsIt) {
  set_slurm_step();
  EXPECT_EQ(choose_backend(detect_world(), "auto"), "gloo");
  try {
    choose_backend(detect_world(), "mpi");
    ADD_FAILURE() << "MPI_Init would have ended the process";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "backend: 'mpi', but srun did not start these ranks for MPI; start with mpirun or "
                 "`srun --mpi=pmix`, or use backend: gloo");
  }
  set({{"PMIX_RANK", "5"}});
  EXPECT_EQ(choose_backend(detect_world(), "auto"), "mpi");
  EXPECT_EQ(choose_backend(detect_world(), "mpi"), "mpi");
}

TEST_F(Environment, ChoosesNcclWhereItCanBeHadAndNothingElseWasAskedFor) {
  EXPECT_EQ(choose_backend(detect_world(), "auto", /*nccl_can_be_had=*/true), "local");
  set_mpirun("0", "2");
  EXPECT_EQ(choose_backend(detect_world(), "auto", /*nccl_can_be_had=*/true), "nccl");
  EXPECT_EQ(choose_backend(detect_world(), "mpi", /*nccl_can_be_had=*/true), "mpi");
  EXPECT_EQ(choose_backend(detect_world(), "nccl", /*nccl_can_be_had=*/false), "nccl");
}

TEST(Cores, AQuotaOfTimeCountsInWholeCores) {
  const auto cores = [](const std::string& text) {
    std::istringstream cpu_max(text);
    return cores_of_quota(cpu_max);
  };
  EXPECT_EQ(cores("400000 100000\n"), 4);
  EXPECT_EQ(cores("250000 100000\n"), 2);
  EXPECT_EQ(cores("50000 100000\n"), 1);
  EXPECT_GT(cores("max 100000\n"), 100000);
  EXPECT_GT(cores(""), 100000);
}

TEST_F(Environment, SharesTheCoresAmongTheRanksOfAHost) {
  WorldInfo world;
  EXPECT_EQ(choose_threads(world, "auto"), num_available_cores());
  world.local_world_size = num_available_cores() + 1;
  EXPECT_EQ(choose_threads(world, "auto"), 1);
  EXPECT_EQ(choose_threads(world, "7"), 7);
  world.launcher = "srun";
  set({{"SLURM_CPUS_PER_TASK", "1"}});
  world.local_world_size = 1;
  EXPECT_EQ(choose_threads(world, "auto"), 1);
  for (const char* wrong : {"0", "-1", "two", "2x", "", "100000"})
    EXPECT_THROW(choose_threads(world, wrong), ConfigError) << wrong;
}

TEST(SlurmLists, FindsTheFirstHost) {
  EXPECT_EQ(first_host("c1"), "c1");
  EXPECT_EQ(first_host("c1,c2"), "c1");
  EXPECT_EQ(first_host("gpu[03-05,9],login1"), "gpu03");
  EXPECT_EQ(first_host("gpu[7,9]"), "gpu7");
  EXPECT_EQ(first_host("rack[1-2]n,x"), "rack1n");
}

TEST(SlurmLists, CountsTheTasksOfAHost) {
  EXPECT_EQ(tasks_on_host("4", 0), 4);
  EXPECT_EQ(tasks_on_host("4(x2),3", 1), 4);
  EXPECT_EQ(tasks_on_host("4(x2),3", 2), 3);
  EXPECT_EQ(tasks_on_host("4(x2),3", 3), std::nullopt);
  EXPECT_EQ(tasks_on_host("many", 0), std::nullopt);
}

TEST_F(Environment, BuildsTheMpirunCommand) {
  const std::vector<std::string> arguments = {"train", "--config",        "a.yaml", "--ranks",
                                              "4",     "--hosts=a:2,b:2", "seed=1"};
  const LaunchRequest here{.num_ranks = 3, .hosts = {}, .hostfile = {}};
  EXPECT_THAT(mpirun_command(here, {.program = "/bin/lora-dist", .num_cores = 3}, arguments),
              ElementsAre("mpirun", "--quiet", "--bind-to", "none", "--use-hwthread-cpus", "-n",
                          "3", "/bin/lora-dist", "train", "--config", "a.yaml", "seed=1"));
  EXPECT_THAT(mpirun_command(here, {.program = "p", .num_cores = 2, .is_root = true}, arguments),
              IsSupersetOf({"--oversubscribe", "--allow-run-as-root"}));
}

TEST_F(Environment, LeavesTheSlotsOfOtherHostsToMpirun) {
  set({{"GLOO_SOCKET_IFNAME", "eth0"}});
  const LaunchRequest two_hosts{.num_ranks = 4, .hosts = "a:2,b:2", .hostfile = {}};
  const std::vector<std::string> words =
      mpirun_command(two_hosts, {.program = "p", .num_cores = 1}, {});
  EXPECT_THAT(words, IsSupersetOf({"--host", "a:2,b:2", "-x", "GLOO_SOCKET_IFNAME"}));
  EXPECT_THAT(words, Not(Contains("--oversubscribe")));
  // Without --ranks mpirun fills the slots.
  const LaunchRequest all_slots{.num_ranks = 0, .hosts = "a:2,b:2", .hostfile = {}};
  EXPECT_THAT(mpirun_command(all_slots, {.program = "p", .num_cores = 1}, {}), Not(Contains("-n")));
  // Inside a Slurm allocation the hosts are known without being named.
  const LaunchRequest allocated{.num_ranks = 4, .hosts = {}, .hostfile = {}};
  EXPECT_THAT(
      mpirun_command(allocated, {.program = "p", .num_cores = 1, .hosts_are_managed = true}, {}),
      Not(Contains("--oversubscribe")));
}

/// A program named mpirun, first in PATH: what the supervisor does with it is seen from its exit
/// code.
class Supervisor : public Environment {
 protected:
  void pretend_mpirun(const std::string& script) {
    const std::string path = folder_.write("mpirun", "#!/bin/sh\n" + script);
    chmod(path.c_str(), 0755);
    set({{"PATH", folder_.path() + ":" + getenv("PATH")}});
  }
  TempFolder folder_;
};

TEST_F(Supervisor, SaysWhatToInstallWhenMpirunIsMissing) {
  set({{"PATH", folder_.path()}});
  try {
    run_under_mpirun({.num_ranks = 2, .hosts = {}, .hostfile = {}}, {});
    FAIL() << "there is no mpirun in that folder";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("mpirun is not in PATH; `apt install openmpi-bin`"));
  }
}

TEST_F(Supervisor, ReturnsTheExitCode) {
  pretend_mpirun("exit 75");
  EXPECT_EQ(run_under_mpirun({.num_ranks = 2, .hosts = {}, .hostfile = {}}, {}), 75);
  pretend_mpirun("kill -KILL $$");
  EXPECT_EQ(run_under_mpirun({.num_ranks = 2, .hosts = {}, .hostfile = {}}, {}), 137);
}

TEST_F(Supervisor, TurnsTermIntoAStopRequestAndIntInto130) {
  // The script says that it is ready, then waits for USR1; every other end is another code.
  const std::string ready = folder_.file("ready");
  for (const auto& [signal, code] : {std::pair{SIGTERM, 75}, {SIGHUP, 75}, {SIGINT, 130}}) {
    unlink(ready.c_str());
    pretend_mpirun("trap 'exit 75' USR1\ntrap 'exit 1' TERM INT HUP\n: > " + ready +
                   "\nfor i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done\nexit 2");
    std::thread sender([&, signal = signal] {
      // A thread that begins after the supervisor blocked its signals inherits nothing, so the
      // process would take the signal here: block it before.
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      while (access(ready.c_str(), F_OK) != 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      kill(getpid(), signal);
    });
    EXPECT_EQ(run_under_mpirun({.num_ranks = 2, .hosts = {}, .hostfile = {}}, {}), code);
    sender.join();
  }
}

}  // namespace
}  // namespace lora_dist
