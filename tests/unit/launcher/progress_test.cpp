// The line that a person sees while training.
#include "launcher/run/progress.hpp"

#include <gtest/gtest.h>

namespace lora_dist {
namespace {

ProgressFacts facts_of(int64_t step, int64_t num_steps) {
  return {.step = step,
          .num_steps = num_steps,
          .epoch = 1.25,
          .loss = 1.23456,
          .learning_rate = 1e-4,
          .held_out_loss = 1.3456,
          .tokens_per_second = 12345,
          .seconds_left = 5000};
}

TEST(ProgressLine, FitsAnyWidthAndStaysOnOneLine) {
  for (const auto& facts : {facts_of(1, 9), facts_of(123456, 9999999), ProgressFacts()}) {
    for (size_t width = 0; width < 200; ++width) {
      const std::string line = progress_line(facts, width);
      EXPECT_LE(line.size(), width) << line;
      for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << line;
    }
  }
}

TEST(ProgressLine, SaysTheMostImportantInEightyAndInFortyColumns) {
  EXPECT_EQ(progress_line(facts_of(120, 500), 79),
            "120/500  loss 1.2346  held-out 1.3456  12345 tokens/s  1 h 23 min left");
  EXPECT_EQ(progress_line(facts_of(120, 500), 39), "120/500 loss 1.23 held 1.35 12k/s 1h23m");
}

TEST(ProgressLine, FillsTheRestOfAWideTerminalWithABar) {
  EXPECT_EQ(progress_line(facts_of(250, 500), 200).substr(0, 27), "[############............] ");
}

}  // namespace
}  // namespace lora_dist
