// How dialogues are written in plain text beside "name: text" on a line, and what only looks so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/sources/source.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

/// Each record as "user | assistant", with "(system)" before and "+ input" behind a user's text
/// where there is one; a broken one as "error".
std::vector<std::string> read_turns(const std::string& path) {
  const auto source = open_source(path, "dialogue");
  std::vector<std::string> records;
  while (true) {
    try {
      const auto record = source->next();
      if (!record) return records;
      std::string text;
      for (const Message& turn : record->messages) {
        if (turn.role == "system") {
          text += "(" + turn.content + ") ";
          continue;
        }
        if (turn.role == "assistant") text += " | ";
        if (turn.role == "user" && text.find('|') != std::string::npos) text += " | ";
        text += turn.content + (turn.input.empty() ? "" : " + " + turn.input);
      }
      records.push_back(text);
    } catch (const DataError&) {
      records.emplace_back("error");
    }
  }
}

std::string format_of(const std::string& text) {
  const TempFolder folder;
  return find_sources(folder.write("t.txt", text), "auto").formats.front();
}

/// As `auto` reads it, with both kinds of line ends and with a byte order mark.
std::vector<std::string> read_text(const std::string& text) {
  const TempFolder folder;
  EXPECT_EQ(format_of(text), "dialogue") << text;
  const std::vector<std::string> turns = read_turns(folder.write("t.txt", text));
  std::string dos = "\xEF\xBB\xBF";
  for (const char c : text) dos += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(format_of(dos), "dialogue") << text;
  EXPECT_EQ(read_turns(folder.write("dos.txt", dos)), turns) << text;
  return turns;
}

TEST(DialogueForms, HeadTurnsByHashes) {
  EXPECT_THAT(read_text("### Human: hi\n### Assistant: yo\n"), ElementsAre("hi | yo"));
  EXPECT_THAT(
      read_text("# User\nhi\n\n# Assistant\nyo\nHuman: me\n\n## User\nhow\n## Assistant\nso\n"),
      ElementsAre("hi | yo\nHuman: me", "how | so"));
  EXPECT_THAT(read_text("### Human: a? ### Assistant: b### Human: c### Assistant: d\n"),
              ElementsAre("a? | b", "c | d"))
      << "one conversation on a line";
  EXPECT_THAT(
      read_text("### 用户：一\n### 客服：二\n\n### 用户：三\n### 客服：四\n#### 要点\n五\n"),
      ElementsAre("一 | 二", "三 | 四\n#### 要点\n五"));
}

TEST(DialogueForms, KeepInstructionAndInputOfAlpacaApart) {
  const std::string head =
      "Below is an instruction that describes a task. Write a response that appropriately "
      "completes "
      "the request.\n\n";
  EXPECT_THAT(read_text(head + "### Instruction:\nSay hi.\n\n### Response:\nhi\n\n" + head +
                        "### Instruction:\nAdd.\n\n### Input:\n2\n3\n\n### Response:\n5\n\n6\n"),
              ElementsAre("Say hi. | hi", "Add. + 2\n3 | 5\n\n6"));
  EXPECT_THAT(
      read_text(
          "### 指令：\n问好\n### 回复：\n你好\n### 指令：\n加\n### 输入：\n1\n### 回复：\n2\n"),
      ElementsAre("问好 | 你好", "加 + 1 | 2"));
  EXPECT_THAT(read_text("User: q\nInput: x\nAssistant: a\nInput: y\n"),
              ElementsAre("q\nInput: x | a\nInput: y"))
      << "elsewhere it is text";
}

TEST(DialogueForms, TakeNamesWithDotsNumbersAndListMarks) {
  EXPECT_THAT(read_text("Dr. House: a\nMr. J.R. Smith: b\n"), ElementsAre("a | b"));
  EXPECT_THAT(read_text("用户1：一\n律师1：二\n用户2：三\n律师2：四\n"),
              ElementsAre("一 | 二", "三 | 四"));
  EXPECT_THAT(read_text("User 1: a\nAgent 1: b\nUser #2: c\nAgent 1: d\n"),
              ElementsAre("a | b", "c | d"));
  EXPECT_THAT(read_text("客户A：一\n客服：二\n客户Ｂ：三\n客户B：四\n客服：五\n"),
              ElementsAre("一 | 二\n客户Ｂ：三", "四 | 五"));
  EXPECT_THAT(read_text("Speaker 1: a\nSpeaker 2: b\nSpeaker 1: c\nSpeaker 2: d\n"),
              ElementsAre("a | b", "c | d"));
  EXPECT_THAT(read_text("User 1: a\nUser 2: b\nUser 1: c\nUser 2: d\n"),
              ElementsAre("a | b", "c | d"))
      << "two users speak with each other";
  EXPECT_THAT(read_text("Q1: a\nA1: b\n\nQ2: c\nA2: d\n"), ElementsAre("a | b", "c | d"));
  for (const std::string mark : {"1. ", "1、", "（1）", "2) ", "- "})
    EXPECT_THAT(read_text(mark + "问：一\n答：二\n1. 答：甲\n" + mark + "问：三\n答：四\n"),
                ElementsAre("一 | 二\n1. 答：甲", "三 | 四"))
        << mark;
}

TEST(DialogueForms, TakeNamesWithRemarksInBrackets) {
  EXPECT_THAT(
      read_text("用户（小李）：在吗？\n客服（小王）：在的（请说）\n用户：退货\n客服(工号12)：好\n"),
      ElementsAre("在吗？ | 在的（请说）", "退货 | 好"));
  EXPECT_THAT(read_text("User (Ann): hi\nAgent (Bob): yo\nUser (Eve): f(x): 1\nAgent: so\n"),
              ElementsAre("hi | yo", "f(x): 1 | so"));
  EXPECT_THAT(read_text("小王(买家)：在吗\n小李(卖家)：在\n小王(买家)：多少钱\n小李(卖家)：5元\n"),
              ElementsAre("在吗 | 在", "多少钱 | 5元"));
  EXPECT_EQ(format_of("优点（一）：快\n缺点（一）：贵\n价格（二）：高\n"), "lines");
  EXPECT_EQ(format_of("说明（一）：快\n步骤 (2): do\n(see below): and\n"), "lines");
}

TEST(DialogueForms, PassOverTimeStampsBeforeNames) {
  for (const std::string stamp :
       {"[10:00] ", "10:00:05 ", "2024-01-01 10:00 ", "【2024/1/1 10:00】",
        "[1/2/24, 10:00:05 PM] ", "1/2/24, 10:00 PM - ", "2024-01-01T10:00:00Z ",
        "2024年1月1日 10:00 "}) {
    EXPECT_THAT(read_text(stamp + "Bob: hi\n" + stamp + "Ann: at 10:30 yo\n10:45 later\n" + stamp +
                          "Bob: how\n" + stamp + "Ann: so\n"),
                ElementsAre("hi | at 10:30 yo\n10:45 later", "how | so"))
        << stamp;
    EXPECT_THAT(read_text(stamp + "用户：一\n" + stamp + "客服：二\n"), ElementsAre("一 | 二"))
        << stamp;
  }
}

TEST(DialogueForms, AreSeenInASingleExchangeOfUnknownNames) {
  EXPECT_THAT(read_text("张三：你好\n李四：早\n"), ElementsAre("你好 | 早"));
  EXPECT_THAT(read_text("Alice:\nhello\n\nBob:\nhi\n"), ElementsAre("hello | hi"));
}

TEST(DialogueForms, AreNotSeenInProseWithColons) {
  for (const char* text :
       {"Note: bring it.\nTitle: The Sea\n", "Title: The Sea\nAuthor: Me\nThe sea is blue.\n",
        "http://a.b/c\nhttps://d.e/f\n", "10:00 start\n11:00 end\n", "步骤1：洗\n步骤2：切\n",
        "Step 1: wash\nStep 2: cut\nStep 1: fry\nStep 2: eat\n",
        "1. 优点：快\n2. 缺点：贵\n1. 优点：省\n2. 缺点：慢\n", "Q1: revenue 3\nQ2: revenue 4\n",
        "# Heading\nText: more.\n## Another\nText again.\n",
        "Below is a list.\nFirst: one\nThen text.\nSecond: two\n", "Hello. Bob: hi\nplain\n"})
    EXPECT_EQ(format_of(text), "lines") << text;
}

TEST(DialogueForms, EndAtRulesThatStandBeforeASpeakerOrAtTheEnd) {
  for (const std::string rule : {"---", "***", "======", "———", "* * *", "－－－－"}) {
    EXPECT_THAT(
        read_text(rule + "\n用户：一\n客服：二。\n" + rule + "\n用户：三\n" + rule +
                  "\n客服：四。\n\n" + rule + "\n\n第二章\n用户：五\n客服：六。\n" + rule + "\n"),
        ElementsAre("一 | 二。", "三 | 四。", "五 | 六。"))
        << rule;
    EXPECT_THAT(
        read_text("User: a\nAssistant: First.\n" + rule + "\nSecond.\n\n" + rule +
                  "\n\nThird part.\nUser: b\nAssistant: c\n"),
        ElementsAre("a | First.\n" + rule + "\nSecond.\n\n" + rule + "\n\nThird part.", "b | c"))
        << rule << " inside an answer";
  }
  EXPECT_THAT(read_text("User: a\nAssistant: x\n--\nUser: b\nAssistant: y\n~~~\n"),
              ElementsAre("a | x\n--", "b | y\n~~~"));
}

TEST(DialogueForms, HaveASystemTextAtTheirHead) {
  EXPECT_THAT(
      read_text("System: Be kind.\nAlways.\n\nUser: a\nAssistant: b\n\nUser: c\nAssistant: d\n"
                "System: Be brief.\nUser: e\nAssistant: f\n"),
      ElementsAre("(Be kind.\nAlways.) a | b", "(Be kind.\nAlways.) c | d", "(Be brief.) e | f"));
  for (const char* head :
       {"系统：", "[system] ", "[system]: ", "【系统】", "**System:** ", "System Prompt: "})
    EXPECT_THAT(read_text(std::string(head) + "简短\n用户：一\n客服：二\n"),
                ElementsAre("(简短) 一 | 二"))
        << head;
  EXPECT_THAT(read_text("### System:\nS\n### User:\na\n### Assistant:\nb\n"),
              ElementsAre("(S) a | b"));
  EXPECT_THAT(read_text("System: S. User: a Assistant: b\n"), ElementsAre("(S.) a | b"));
  EXPECT_THAT(read_text("用户：一\n客服：二\n\n系统：简短\n用户：三\n客服：四\n"),
              ElementsAre("一 | 二", "(简短) 三 | 四"))
      << "a head of a later dialogue";
  EXPECT_THAT(
      read_text(
          "用户：一\n客服：要求\n系统：Windows\n\n系统：Linux\n内存：8G\n用户：三\n客服：四\n"),
      ElementsAre("一 | 要求\n系统：Windows\n\n系统：Linux\n内存：8G", "三 | 四"))
      << "inside an answer";
  EXPECT_THAT(read_text("User: a\nSystem: b\nUser: c\nSystem: d\n"), ElementsAre("a | b", "c | d"))
      << "where it is the other speaker";
}

TEST(DialogueForms, AreReadFromTextThatAChatTemplateLaidOut) {
  EXPECT_THAT(read_text("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi\n\nthere<|im_end|>\n"
                        "<|im_start|>assistant\nHello\n---\nyou<|im_end|>\n\n"
                        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\nd<|im_end|>\n"),
              ElementsAre("(S) Hi\n\nthere | Hello\n---\nyou", "a | b | c | d"));
  EXPECT_THAT(read_text("<|im_start|>user a<|im_end|>\n<|im_start|>assistant b<|im_end|>\n"),
              ElementsAre("a | b"));
  EXPECT_THAT(read_text("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
                        "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>\n"
                        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
                        "<|start_header_id|>assistant<|end_header_id|>\n\nd<|eot_id|>\n"),
              ElementsAre("a | b", "c | d"));
  EXPECT_THAT(
      read_text("<s>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST] d </s>\n"
                "<s>[INST] e [/INST] f </s>\n"),
      ElementsAre("(S) a | b | c | d", "e | f"));
  EXPECT_THAT(
      read_text("<start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"),
      ElementsAre("a | b"));
  EXPECT_THAT(
      read_text("<|user|>\na</s>\n\n<|assistant|>\nb</s>\n\n<|user|>\nc</s>\n\n<|assistant|>\nd\n"),
      ElementsAre("a | b | c | d"));
  EXPECT_THAT(read_text("<|im_start|>user\na<|im_end|>\n<|im_start|>tool\nb<|im_end|>\n"
                        "<|im_start|>assistant\nc<|im_end|>\n\n"
                        "<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\ne<|im_end|>\n"),
              ElementsAre("error", "d | e"));
  EXPECT_EQ(format_of("<s>[INST] a [/INST] b </s>\n<s>[INST] c [/INST] d </s>\n"), "lines")
      << "lines that are whole conversations are texts, as they were";
}

}  // namespace
}  // namespace lora_dist
