#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/sources/source.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

/// Each record as "user | assistant"; a broken one as "error: ...".
std::vector<std::string> read_pairs(const std::string& path, const std::string& format = "auto") {
  const auto source = open_source(path, find_sources(path, format).formats.front());
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
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "dialogue");
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
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "dialogue") << "they speak again and again";
  const std::string prose = folder.write("p.txt", "小明：你好\n昨天他走了。\n小红：早\n");
  EXPECT_EQ(find_sources(prose, "auto").formats.front(), "lines")
      << "unknown words that speak once are speakers only where asked for";
}

TEST(DialogueSource, TakesTheFirstSpeakerForTheUserWhateverTheNames) {
  const TempFolder folder;
  for (const auto& [first, second] :
       std::vector<std::pair<std::string, std::string>>{{"员工：", "HR："},
                                                        {"甲方：", "乙方："},
                                                        {"【用户】", "【客服】"},
                                                        {"【张三】：", "【李四】："},
                                                        {"User:", "Assistant:"},
                                                        {"**User:**", "**Support Agent:**"},
                                                        {"Alice:", "Bob:"},
                                                        {"老王：", "小李："}}) {
    const std::string path =
        folder.write("t.txt", first + "q1\n" + second + "a1\n" + first + "q2\n" + second + "a2\n");
    EXPECT_EQ(find_sources(path, "auto").formats.front(), "dialogue") << first;
    EXPECT_THAT(read_pairs(path), ElementsAre("q1 | a1", "q2 | a2")) << first;
  }
}

TEST(DialogueSource, ReadsFormsOfOneLineAndOfSeveralInAnyOrder) {
  const TempFolder folder;
  const std::string path = folder.write("t.txt",
                                        "用户：一？\n律师：甲。\n"
                                        "用户：二？ 律师：乙。\n"
                                        "用户：三？律师：丙。\n\n"
                                        "用户：四？\n\n律师：丁。\n"
                                        "用户：请问 律师：五？\n律师：戊。\n"
                                        "用户：六？\u3000律师：己。 用户：七？ 律师：庚。\n");
  EXPECT_THAT(read_pairs(path),
              ElementsAre("一？ | 甲。", "二？ | 乙。", "三？ | 丙。", "四？ | 丁。",
                          "请问 律师：五？ | 戊。", "六？ | 己。", "七？ | 庚。"));
}

TEST(DialogueSource, LetsNoLineOfAnAnswerSpeakThatHasNotSpokenBefore) {
  const TempFolder folder;
  const std::string answer =
      "要点如下：\n注意：带身份证\nNote: bring it\n时间：10:30\n10:30 "
      "开始\nhttp://a.cn/b\n问题：何时\n专家：随时";
  const std::string path =
      folder.write("t.txt", "用户：q\n律师：" + answer + "\n用户：r\n律师：" + answer + "\n");
  EXPECT_THAT(read_pairs(path), ElementsAre("q | " + answer, "r | " + answer));
}

TEST(DialogueSource, SkipsTitlesAndSaysSo) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.txt",
                   "劳动法问答集\n主题：合同\n\n用户：q\n律师：a。\n\n再说一段。\n\n"
                   "第二章 试用期\n用户：r\n律师：b\n\n----\n\n用户：s\n律师：c\n");
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "dialogue");
  EXPECT_THAT(read_pairs(path), ElementsAre("q | a。\n\n再说一段。", "r | b", "s | c"));
  const auto source = open_source(path, "dialogue");
  std::vector<size_t> num_notes;
  while (auto record = source->next()) num_notes.push_back(record->notes.size());
  EXPECT_THAT(num_notes, ElementsAre(1, 1, 0));
}

TEST(DialogueSource, NamesHalfOfADialogue) {
  const TempFolder folder;
  const std::string path = folder.write("t.txt", "用户：q\n用户：r\n");
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "dialogue");
  EXPECT_THROW(open_source(path, "dialogue"), DataError);
  EXPECT_EQ(
      find_sources(folder.write("p.txt", "备注：a\nhttp://b\n10:30 c\n"), "auto").formats.front(),
      "lines");
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
                      "'Q：...'; set data_format: lines if this is plain text"));
}

}  // namespace
}  // namespace lora_dist
