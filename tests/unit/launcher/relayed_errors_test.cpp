#include "launcher/environments/relayed_errors.hpp"

#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/wait.h>

namespace lora_dist {
namespace {

/// What finish() says of a child that writes `texts`, each at once.
bool is_told_by(const std::vector<std::string>& texts) {
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
  return errors.finish();
}

TEST(RelayedErrors, SeeALineThatTellsAnErrorHoweverItIsCut) {
  EXPECT_TRUE(is_told_by({"step 1\nerror: no such file\n"}));
  EXPECT_TRUE(is_told_by({"step 1\nerr", "or", ": no such file"}));
  EXPECT_TRUE(is_told_by({std::string(100'000, 'x') + "\nerror: late\n"}));
}

TEST(RelayedErrors, SeeNoErrorInOtherLines) {
  EXPECT_FALSE(is_told_by({}));
  EXPECT_FALSE(is_told_by({"step 1\nno error: here\n", "warning: error\n"}));
}

}  // namespace
}  // namespace lora_dist
