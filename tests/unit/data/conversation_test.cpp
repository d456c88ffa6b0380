#include "data/sources/conversation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

std::string error_of(const std::string& text) {
  try {
    read_conversation(text, "m.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ReadConversation, KnowsTheTurnsThatTrainingKnows) {
  for (
      const char* text :
      {R"([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}])",
       R"({"messages": [{"role": "Developer", "content": "s"}, {"role": "human", "content": "q"}]})",
       R"({"conversations": [{"from": "系统", "value": "s"}, {"from": "用户", "value": "q"}]})",
       R"([{"role": "system", "content": [{"type": "text", "text": "s"}]},
               {"role": "user", "content": [{"type": "text", "text": "q"}]}])"}) {
    const std::vector<Message> messages = read_conversation(text, "m.json");
    ASSERT_EQ(messages.size(), 2u) << text;
    EXPECT_EQ(messages[0].role, "system") << text;
    EXPECT_EQ(messages[0].content, "s") << text;
    EXPECT_EQ(messages[1].role, "user") << text;
    EXPECT_EQ(messages[1].content, "q") << text;
  }
}

TEST(ReadConversation, SaysWhatIsWrongWithOne) {
  for (const char* text : {"[]", "{}", "3", R"({"messages": []})"})
    EXPECT_EQ(error_of(text),
              R"(m.json: no list of messages, expected [{"role": "user", "content": "..."}, ...])");
  EXPECT_THAT(error_of("[{"), testing::StartsWith("m.json: byte "));
  EXPECT_EQ(error_of(R"([{"role": "judge", "content": "c"}])"),
            "m.json: role 'judge', expected system, user, assistant or tool");
}

}  // namespace
}  // namespace lora_dist
