#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/base/error.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/slurm_lists.hpp"
#include "launcher/environments/typed_command.hpp"
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
      for (const char* family : {"OMPI_", "SLURM_", "TORCHELASTIC_", "PMI", "MPI_LOCAL", "PALS_",
                                 "MV2_", "JSM_", "FLUX_", "HOROVOD_", "MASTER_"})
        if (name.starts_with(family)) unsetenv(name.c_str());
    }
    for (const char* name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "ALPS_APP_PE",
                             "GLOO_SOCKET_IFNAME", "OMP_NUM_THREADS"})
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
         {"MASTER_PORT", "29501"},
         {"TORCHELASTIC_RUN_ID", "none"}});
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

TEST_F(Environment, BelievesTheInnermostLauncher) {
  EXPECT_THAT(environments().names(),
              ElementsAre("torchrun", "mpirun", "other_mpi", "slurm", "env", "alone"));
  set_slurm_step();
  set_mpirun("0", "2");
  EXPECT_EQ(detect_world().launcher, "mpirun");
  set_torchrun();  // `srun torchrun`: the workers inherit srun's variables
  EXPECT_EQ(detect_world().launcher, "torchrun");
  EXPECT_EQ(detect_world().world_size, 8);
}

TEST_F(Environment, LooksOnWhereALauncherStartedOneProcess) {
  set_mpirun("0", "1");
  set({{"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}});
  EXPECT_EQ(detect_world().launcher, "mpirun");
  set({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "h1"}});
  EXPECT_EQ(detect_world().launcher, "env");
  EXPECT_EQ(detect_world().world_size, 4);
}

TEST_F(Environment, RefusesOneWorldInsideAnother) {
  set_mpirun("0", "2");
  set({{"RANK", "1"}, {"WORLD_SIZE", "3"}, {"MASTER_ADDR", "h1"}});
  EXPECT_EQ(error_text(),
            "environment: mpirun says rank 0 of 2, RANK and WORLD_SIZE say rank 1 of 3; unset RANK "
            "and WORLD_SIZE, or start without mpirun");
  set({{"RANK", "0"}, {"WORLD_SIZE", "2"}});
  EXPECT_EQ(detect_world().launcher, "mpirun");
  set({{"WORLD_SIZE", "1"}});  // left over
  EXPECT_EQ(detect_world().launcher, "mpirun");
}

TEST_F(Environment, JoinsRanksThatOnlyKnowTheirNumber) {  // PyTorchJob, a loop in a shell
  set({{"RANK", "1"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "h1"}});
  const WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "env");
  EXPECT_EQ(world.rank, 1);
  EXPECT_EQ(world.world_size, 4);
  EXPECT_FALSE(world.knows_neighbours);
  EXPECT_EQ(world.master_port, 29500);
  set({{"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}});
  EXPECT_TRUE(detect_world().knows_neighbours);
  EXPECT_EQ(detect_world().local_rank, 1);
}

TEST_F(Environment, NamesAHalfSetEnvironment) {
  set({{"RANK", "1"}});
  EXPECT_EQ(error_text(),
            "environment: RANK is set but WORLD_SIZE is not, expected RANK, WORLD_SIZE, "
            "MASTER_ADDR and MASTER_PORT; set all four for every rank, or unset them to train with "
            "one process");
  set({{"WORLD_SIZE", "2"}});
  EXPECT_THAT(error_text(), HasSubstr("RANK and WORLD_SIZE are set but MASTER_ADDR is not"));
  set({{"MASTER_ADDR", "h1"}, {"RANK", "2"}});
  EXPECT_THAT(error_text(), HasSubstr("RANK 2 with WORLD_SIZE 2"));
  set({{"RANK", "0"}, {"MASTER_PORT", "70000"}});
  EXPECT_THAT(error_text(), HasSubstr("MASTER_PORT 70000, expected 1 to 65535"));
  unsetenv("RANK");
  EXPECT_THAT(error_text(), HasSubstr("WORLD_SIZE is 2 but RANK is not set"));
}

TEST_F(Environment, TakesAWorldOfOneForALeftOver) {
  set({{"WORLD_SIZE", "1"}});
  EXPECT_EQ(detect_world().launcher, "alone");
  set({{"RANK", "0"}, {"LOCAL_RANK", "0"}});
  EXPECT_EQ(detect_world().launcher, "alone");
  set({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}});
  EXPECT_EQ(detect_world().launcher, "alone");
}

TEST_F(Environment, RefusesTheRanksOfAnotherMpiWithoutAMeetingPlace) {
  for (const auto& [rank, size] :
       std::map<std::string, std::string>{{"PMI_RANK", "PMI_SIZE"},
                                          {"PALS_RANKID", "PMI_SIZE"},
                                          {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"},
                                          {"JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"},
                                          {"FLUX_TASK_RANK", "FLUX_JOB_SIZE"},
                                          {"HOROVOD_RANK", "HOROVOD_SIZE"}}) {
    set({{rank, "1"}, {size, "2"}, {"WORLD_SIZE", "1"}, {"RANK", "0"}});
    EXPECT_THAT(error_text(), HasSubstr(rank + ": rank 1 of 2 of a launcher that is not Open "
                                               "MPI's, and MASTER_ADDR is not set; start with"));
    unsetenv(rank.c_str());
    unsetenv(size.c_str());
  }
  for (const char* rank : {"PMI_ID", "ALPS_APP_PE", "PMIX_RANK"}) {
    set({{rank, "1"}});
    EXPECT_THAT(error_text(), HasSubstr("rank 1 of a launcher that does not say how many"));
    unsetenv(rank);
  }
}

TEST_F(Environment, JoinsTheRanksOfAnotherMpiAtAMeetingPlace) {
  set({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"MASTER_ADDR", "h1"}});
  WorldInfo world = detect_world();
  EXPECT_EQ(world.launcher, "mpiexec");
  EXPECT_EQ(world.rank, 3);
  EXPECT_EQ(world.world_size, 4);
  EXPECT_FALSE(world.knows_neighbours);
  EXPECT_EQ(choose_backend(world, "auto"), "gloo");
  set({{"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}});
  world = detect_world();
  EXPECT_TRUE(world.knows_neighbours);
  EXPECT_EQ(world.local_rank, 1);
  EXPECT_EQ(world.local_world_size, 2);
}

TEST_F(Environment, LeavesSlurmsOwnPmiToSlurm) {
  set_slurm_step();
  set({{"PMI_RANK", "5"}, {"PMI_SIZE", "7"}});  // srun --mpi=pmi2
  EXPECT_EQ(detect_world().launcher, "srun");
  set({{"PMI_RANK", "1"}, {"PMI_SIZE", "12"}});  // mpiexec, whose proxies srun started
  EXPECT_THAT(error_text(), HasSubstr("PMI_RANK: rank 1 of 12"));
}

TEST_F(Environment, SaysThatASlurmJobWasStartedWithoutSrun) {
  set({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}});
  EXPECT_THAT(word_about_unused_tasks(detect_world()),
              HasSubstr("this Slurm job has 4 tasks, but the program was started without srun"));
  set({{"SLURM_NTASKS", "1"}});
  EXPECT_EQ(word_about_unused_tasks(detect_world()), "");
}

TEST_F(Environment, NamesBothNumbersWhereALauncherStartedOthersThanAskedFor) {
  const auto answer = [](const LaunchRequest& request) -> std::string {
    try {
      return asks_for_ranks(request, detect_world()) ? "starts" : "joins";
    } catch (const ConfigError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(answer({.num_ranks = 4, .hosts = {}, .hostfile = {}}), "starts");
  EXPECT_EQ(answer({.num_ranks = 1, .hosts = {}, .hostfile = {}}), "joins");
  set_mpirun("1", "2");
  EXPECT_EQ(answer({.num_ranks = 2, .hosts = {}, .hostfile = {}}), "joins");
  EXPECT_EQ(answer({.num_ranks = 4, .hosts = {}, .hostfile = {}}),
            "--ranks: 4, but mpirun started 2 ranks; leave --ranks out here, or start without "
            "mpirun");
  EXPECT_EQ(answer({.num_ranks = 0, .hosts = "a:2", .hostfile = {}}),
            "--hosts: given to a rank that mpirun started; give the hosts to mpirun, or start "
            "without it");
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
  unsetenv("RANK");
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

TEST_F(Environment, HonoursTheThreadsThatAUserAskedForAndNotThoseOfTorchrun) {
  WorldInfo world;
  for (const auto& [text, threads] :
       {std::pair("3", 3), std::pair("4,2", 4), std::pair("0", 0), std::pair("-2", 0),
        std::pair("many", 0), std::pair("2x", 0), std::pair("", 0)}) {
    set({{"OMP_NUM_THREADS", text}});
    EXPECT_EQ(threads_of_user(world).value_or(0), threads) << text;
  }
  set({{"OMP_NUM_THREADS", "1"}});
  EXPECT_EQ(choose_threads(world, "auto"), 1);
  EXPECT_EQ(choose_threads(world, "7"), 7) << "the config says it";
  EXPECT_FALSE(user_bounds_threads(world, "7"));
  EXPECT_EQ(user_bounds_threads(world, "auto"), num_available_cores() > 1);
  world.launcher = "torchrun";
  EXPECT_EQ(choose_threads(world, "auto"), num_available_cores());
  set({{"OMP_NUM_THREADS", "100000"}});
  EXPECT_EQ(choose_threads({}, "auto"), num_available_cores());
}

TEST(CommandLine, IsQuotedAsAShellTakesIt) {
  EXPECT_EQ(shell_text({"lora-dist", "train", "a b=c", "it's", ""}),
            "lora-dist train 'a b=c' 'it'\\''s' ''");
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
              ElementsAre("mpirun", "--bind-to", "none", "--use-hwthread-cpus", "-n", "3",
                          "/bin/lora-dist", "train", "--config", "a.yaml", "seed=1"));
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

/// What the supervisor prints, and its code or the error it throws.
std::string outcome_of_supervisor(const LaunchRequest& request) {
  testing::internal::CaptureStderr();
  std::string end;
  try {
    end = fmt::format("exit {}", run_under_mpirun(request, {}));
  } catch (const Error& error) {
    end = fmt::format("{} {}", error.exit_code(), error.what());
  }
  return testing::internal::GetCapturedStderr() + end;
}

const std::string kRule(74, '-');

TEST_F(Supervisor, TellsWhatMpirunSaysWhereNoRankSpeaks) {
  pretend_mpirun("echo '" + kRule + "\nThere are not enough\n  widgets.\n" + kRule +
                 "\n[h1:12] 3 more processes have sent help message x' >&2\nexit 1");
  EXPECT_EQ(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}),
            "error: mpirun: ended with code 1 [There are not enough widgets.]\nexit 2");
  pretend_mpirun("exit 1");
  EXPECT_THAT(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}),
              HasSubstr("error: mpirun: ended with code 1 and without a word"));
}

TEST_F(Supervisor, NamesTheRankThatWasKilledInPlaceOfThoseThatMissIt) {
  pretend_mpirun("echo 'error: [rank 0/2 vm] barrier #7 (mpi): lost rank 1 (vm) [process 5]; x\n" +
                 kRule + "\nmpirun noticed that process rank 1 with PID 0 on node vm exited on " +
                 "signal 9 (Killed).\n" + kRule + "' >&2\nexit 137");
  EXPECT_EQ(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}),
            "error: rank 1 on host vm was killed (signal 9, Killed); if nobody sent it, memory ran "
            "out: the kernel's log (dmesg) says so; the same command again goes on from the newest "
            "checkpoint\nexit 137");
}

TEST_F(Supervisor, NamesTheHostThatWasLost) {
  const std::string words = kRule +
                            "\nORTE has lost communication with a remote daemon.\n\n"
                            "  HNP daemon   : [[50046,0],0] on node h1\n"
                            "  Remote daemon: [[50046,0],1] on node h2\n\n"
                            "This is usually due to either a failure of the TCP network\n" +
                            kRule;
  pretend_mpirun("echo '" + words + "' >&2\nexit 205");
  EXPECT_EQ(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}),
            "7 host h2: mpirun lost its connection to it; look at that host and the network; the "
            "same command again goes on from the newest checkpoint");
  pretend_mpirun("echo '" + words + "\nerror: [rank 0/2 h1 step 3] told by a rank' >&2\nexit 205");
  EXPECT_EQ(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}),
            "error: [rank 0/2 h1 step 3] told by a rank\nexit 7");
}

TEST_F(Supervisor, ReadsAHostfileStrictlyBeforeMpirunDoes) {
  pretend_mpirun("while [ \"$1\" != --hostfile ]; do shift; done; cat $2 >&2; exit 0");
  const auto outcome = [&](const std::string& text) {
    const std::string path = folder_.write("hosts", text);
    std::string told = outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = path});
    for (size_t at = told.find(path); at != std::string::npos; at = told.find(path))
      told.replace(at, path.size(), "hosts");
    return told.substr(0, told.find("; write a host"));
  };
  EXPECT_EQ(outcome("\xef\xbb\xbf# two\r\na slots = 2\r\nb:1 max_slots=3\r\nc\r\nc\r\n"),
            "a slots=2\nb slots=1 max_slots=3\nc\nc\nexit 0");
  EXPECT_EQ(outcome("a slots=1\n\nb slots=two\n"),
            "2 hosts:3: slots 'two', expected a whole number from 1 on");
  EXPECT_EQ(outcome("a slots=0\n"), "2 hosts:1: slots '0', expected a whole number from 1 on");
  EXPECT_EQ(outcome("a slots=1\na slots=1\n"),
            "2 hosts:2: host 'a' again, after line 1, expected one line for each host, with all "
            "its slots");
  EXPECT_EQ(outcome("a slotz=1\n"), "2 hosts:1: unknown word 'slotz=1', expected slots=N");
  EXPECT_EQ(outcome("\n# none\n"), "2 hosts: no host in it, expected one host a line");
}

TEST_F(Supervisor, TurnsTermIntoAStopRequestAndIntInto130) {
  // The script says that it is ready, then waits for USR1; every other end is another code.
  const std::string ready = folder_.file("ready");
  for (const auto& [signal, code] :
       {std::pair{SIGTERM, 75}, {SIGHUP, 75}, {SIGUSR1, 75}, {SIGINT, 130}}) {
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

TEST_F(Supervisor, KeepsTheCodeOfCtrlCWhenItIsPressedTwice) {
  const std::string ready = folder_.file("ready"), heard = folder_.file("heard");
  pretend_mpirun("trap ': > " + heard + "' USR1\ntrap 'exit 1' TERM\n: > " + ready +
                 "\nfor i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done\nexit 2");
  std::thread sender([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    for (const std::string& sign : {ready, heard}) {
      while (access(sign.c_str(), F_OK) != 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      kill(getpid(), SIGINT);
    }
  });
  EXPECT_EQ(outcome_of_supervisor({.num_ranks = 2, .hosts = {}, .hostfile = {}}), "exit 130");
  sender.join();
}

}  // namespace
}  // namespace lora_dist
