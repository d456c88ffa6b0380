#include "launcher/environments/relayed_errors.hpp"

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

struct Relayed {
  std::string passed_on;
  bool is_told = false;
  std::string words_of_mpirun;
  std::optional<KilledRank> killed;
};

/// What becomes of the standard error of a child that writes `texts`, each at once.
Relayed relay_of(const std::vector<std::string>& texts) {
  Relayed relayed;
  testing::internal::CaptureStderr();
  RelayedErrors errors;
  const pid_t child = fork();
  if (child == 0) {
    errors.take_over_in_child();
    for (const std::string& text : texts)
      if (write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(1);
    _exit(0);
  }
  errors.start();
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  errors.finish();
  relayed.is_told = errors.tell_errors();
  relayed.words_of_mpirun = errors.words_of_mpirun();
  relayed.killed = errors.killed_rank();
  relayed.passed_on = testing::internal::GetCapturedStderr();
  return relayed;
}

bool is_told_by(const std::vector<std::string>& texts) { return relay_of(texts).is_told; }

TEST(RelayedErrors, SeeALineThatTellsAnErrorHoweverItIsCut) {
  EXPECT_TRUE(is_told_by({"step 1\nerror: no such file\n"}));
  EXPECT_TRUE(is_told_by({"step 1\nerr", "or", ": no such file"}));
  EXPECT_TRUE(is_told_by({std::string(100'000, 'x') + "\nerror: late\n"}));
}

TEST(RelayedErrors, SeeNoErrorInOtherLines) {
  EXPECT_FALSE(is_told_by({}));
  EXPECT_FALSE(is_told_by({"step 1\nno error: here\n", "warning: error\n"}));
}

TEST(RelayedErrors, PassOnEveryKindOfErrorAsItIs) {
  std::string all;
#define LORA_DIST_ERROR(Kind, code) \
  all += std::string("error: ") +   \
         Kind({.where = #Kind, .found = "f", .expected = "e", .fix = "do this"}).what() + "\n";
  LORA_DIST_ERRORS(LORA_DIST_ERROR)
#undef LORA_DIST_ERROR
  EXPECT_EQ(relay_of({all}).passed_on, all);
}

TEST(RelayedErrors, KeepBackTheWordsOfMpirun) {
  const std::string rule = std::string(74, '-') + "\n";
  const Relayed relayed = relay_of(
      {"step 1\n-- 50%\r", "-- 100%\n[rank 1/2 vm] hello\n", rule + "Primary job  terminated\n",
       "normally\n" + rule, rule + "No\n   slots.\n" + rule,
       "[vm:12] 3 more processes have sent help\nmpirun: Forwarding signal 10 to job\nstep 2"});
  EXPECT_EQ(relayed.passed_on, "step 1\n-- 50%\r-- 100%\n[rank 1/2 vm] hello\nstep 2\n");
  EXPECT_EQ(relayed.words_of_mpirun, "No slots.");
  EXPECT_FALSE(relayed.is_told);
}

TEST(RelayedErrors, LeaveOutTheLossOfARankThatWasKilled) {
  const std::string rule = std::string(74, '-') + "\n";
  const std::string loss =
      "error: [rank 0/2 vm] barrier #7 (mpi): lost rank 1 (vm) [gone]; go on\n";
  const std::string notice = rule + "mpirun noticed that process rank 1 with PID 0 on node vm " +
                             "exited on signal 9 (Killed).\n" + rule;
  EXPECT_EQ(relay_of({loss}).passed_on, loss);
  const Relayed relayed = relay_of({loss, "error: out/: disk full\n", notice});
  EXPECT_EQ(relayed.passed_on, "error: out/: disk full\n");
  ASSERT_TRUE(relayed.killed);
  EXPECT_EQ(relayed.killed->rank, 1);
  EXPECT_EQ(relayed.killed->host, "vm");
  EXPECT_EQ(relayed.killed->signal, 9);
}

}  // namespace
}  // namespace lora_dist
