#include "data/samples/sample_view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/io/printable.hpp"
#include "tests/support/byte_tokenizer.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

TEST(SampleView, MarksWhatIsLearntAndShowsLineEndsAndSpecialTokens) {
  const ByteTokenizer tokenizer;
  const Tokens tokens{{1, 3 + 'q', 3 + '\n', 3 + 'a', 2}, {0, 0, 0, 1, 1}};
  EXPECT_THAT(sample_lines(tokens, &tokenizer, 80),
              ElementsAre("context     3  <s>q\\n", "learnt      2  a</s>"));
  EXPECT_THAT(sample_lines(tokens, nullptr, 80),
              ElementsAre("context     3  1 116 13", "learnt      2  100 2"));
}

TEST(SampleView, LeavesOutTheMiddleOfManyTurns) {
  const ByteTokenizer tokenizer;
  Tokens tokens;
  for (int i = 0; i < 20; ++i) {
    tokens.ids.push_back(3 + 'a' + i);
    tokens.loss_mask.push_back(i % 2);
  }
  const auto lines = sample_lines(tokens, &tokenizer, 80);
  ASSERT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines[6], "... 12 more stretches ...");
  EXPECT_EQ(lines[8], "learnt      1  t");
}

TEST(OneLine, FitsATerminalWhereCharactersAreOneOrTwoColumnsWide) {
  EXPECT_EQ(one_line("short", 10), "short");
  EXPECT_EQ(one_line("abcdefghijklmnopqrstuvwxyz", 14), "abcdef ... xyz");
  EXPECT_EQ(one_line("一二三四五六七八", 13), "一二三 ... 八");
  EXPECT_EQ(one_line("a\x1b[0m\xff", 40), "a\\x1b[0m\\xff");
}

}  // namespace
}  // namespace lora_dist
