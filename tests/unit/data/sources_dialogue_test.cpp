#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/sources/source.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

/// Each record as "user | assistant"; a broken one as "error: ...".
std::vector<std::string> read_pairs(const std::string& path, const std::string& format = "auto") {
  const auto source = open_source(path, find_sources(path, format).format);
  std::vector<std::string> pairs;
  while (true) {
    try {
      const auto record = source->next();
      if (!record) return pairs;
      EXPECT_EQ(record->messages.size(), 2u);
      EXPECT_EQ(record->messages.front().role, "user");
      EXPECT_EQ(record->messages.back().role, "assistant");
      pairs.push_back(record->messages.front().content + " | " + record->messages.back().content);
    } catch (const DataError& error) {
      pairs.push_back(std::string("error: ") + error.what());
    }
  }
}

using testing::ElementsAre;

TEST(DialogueSource, ReadsTheLawDialogueOfTheBriefWithoutColons) {
  const TempFolder folder;
  const std::string path =
      folder.write("train.txt",
                   "用户劳动合同到期不续签有没有补偿\n"
                   "律师根据《劳动合同法》第四十四条劳动合同期满终止……应当支付经济补偿。\n"
                   "\n"
                   "用户员工主动辞职有经济补偿吗\n"
                   "律师依据《劳动合同法》第三十八条劳动者有权请求经济补偿。\n"
                   "\n"
                   "用户试用期最长可以多久\n"
                   "律师根据《劳动合同法》第十九条试用期不得超过一个月……\n");
  EXPECT_EQ(find_sources(path, "auto").format, "dialogue");
  EXPECT_THAT(
      read_pairs(path),
      ElementsAre("劳动合同到期不续签有没有补偿 | "
                  "根据《劳动合同法》第四十四条劳动合同期满终止……应当支付经济补偿。",
                  "员工主动辞职有经济补偿吗 | 依据《劳动合同法》第三十八条劳动者有权请求经济补偿。",
                  "试用期最长可以多久 | 根据《劳动合同法》第十九条试用期不得超过一个月……"));
}

TEST(DialogueSource, ReadsFullWidthColons) {
  const TempFolder folder;
  const std::string path = folder.write("train.txt",
                                        "用户：员工主动辞职有经济补偿吗？\n"
                                        "律师：依据《劳动合同法》第三十八条，有权请求经济补偿；\n"
                                        "用户可以另行咨询。\n"
                                        "用户：试用期最长可以多久？\n"
                                        "律师：不得超过一个月。\n");
  // With colons in the file a line that merely begins with a speaker's word continues the answer.
  EXPECT_THAT(read_pairs(path),
              ElementsAre("员工主动辞职有经济补偿吗？ | "
                          "依据《劳动合同法》第三十八条，有权请求经济补偿；\n用户可以另行咨询。",
                          "试用期最长可以多久？ | 不得超过一个月。"));
}

TEST(DialogueSource, ReadsTheFinanceDialogueOnOneLineInBothColons) {
  const TempFolder folder;
  const std::string answer =
      "您可通过手机银行APP首页点击“我的理财”进入持仓页面,选择对应产品后点击“赎回”按钮完成操作。";
  const std::string ascii =
      folder.write("a.txt", "用户:理财产品到期怎么赎回? 客服:" + answer + "\n用户:q 客服:a\n");
  EXPECT_THAT(read_pairs(ascii), ElementsAre("理财产品到期怎么赎回? | " + answer, "q | a"));
  const std::string full =
      folder.write("b.txt", "用户：理财产品到期怎么赎回？ 客服：" + answer + "\n");
  EXPECT_THAT(read_pairs(full), ElementsAre("理财产品到期怎么赎回？ | " + answer));
}

TEST(DialogueSource, JoinsFurtherLinesAndAcceptsABlankLineBeforeTheAnswer) {
  const TempFolder folder;
  EXPECT_THAT(
      read_pairs(folder.write(
          "t.txt", "User: one\ntwo\n\nAssistant: three\nA: kept\n\n\nuser: q\nassistant:\na\n")),
      ElementsAre("one\ntwo | three\nA: kept", "q | a"));
}

TEST(DialogueSource, LearnsNewSpeakersFromTheFirstLines) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.txt", "小明：你好\n小红：早\n注意：别忘了\n小明：再见\n小红：嗯\n");
  EXPECT_THAT(read_pairs(path, "dialogue"), ElementsAre("你好 | 早\n注意：别忘了", "再见 | 嗯"));
  EXPECT_EQ(find_sources(path, "auto").format, "lines")
      << "unknown words are speakers only where asked for";
}

TEST(DialogueSource, NamesTheLineOfATurnWithoutItsPartner) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.txt", "Q: a\nA: b\nQ: never\nQ: c\nA: d\n\nA: out of place\n");
  EXPECT_THAT(
      read_pairs(path),
      ElementsAre("a | b",
                  "error: " + path +
                      ":3: a question without an answer, expected a turn of the other speaker "
                      "behind it; write both, or take the question out",
                  "c | d",
                  "error: " + path +
                      ":7: an answer without a question, expected a turn of the user, as in "
                      "'用户：...'; set data_format: lines if this is plain text"));
}

}  // namespace
}  // namespace lora_dist
