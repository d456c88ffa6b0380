#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/sources/source.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {

void PrintTo(const Message& message, std::ostream* out) {
  *out << message.role << ": " << message.content << " | " << message.input;
}
bool operator==(const Message& a, const Message& b) {
  return a.role == b.role && a.content == b.content && a.input == b.input && a.learn == b.learn;
}

namespace {

using testing::ElementsAre;

std::vector<Record> read_all(const std::string& path, const std::string& format = "auto") {
  const std::string resolved = find_sources(path, format).formats.front();
  const auto source = open_source(path, resolved);
  std::vector<Record> records;
  while (auto record = source->next()) records.push_back(std::move(*record));
  return records;
}

std::string error_of(const std::string& path, const std::string& format = "auto") {
  try {
    read_all(path, format);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(AlpacaSource, ReadsTheResumeRecordOfTheBrief) {
  const TempFolder folder;
  const std::string path = folder.write(
      "train.jsonl",
      R"({ "instruction": "请根据'自然语言处理研究员'岗位要求,优化以下简历段落", "input": "负责文本分类模型开发,使用BERT进行微调...", "output": "建议具体说明数据规模(如‘在10万条标注语料上’)、评估指标(如‘准确率达92%’),并补充对比实验设计" })");
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "alpaca");
  const std::vector<Record> records = read_all(path);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_THAT(
      records[0].messages,
      ElementsAre(Message{"user", "请根据'自然语言处理研究员'岗位要求,优化以下简历段落",
                          "负责文本分类模型开发,使用BERT进行微调..."},
                  Message{"assistant",
                          "建议具体说明数据规模(如‘在10万条标注语料上’)、评估指标(如‘准确率达92%’),"
                          "并补充对比实验设计"}));
  EXPECT_EQ(records[0].where, path + ":1");
}

TEST(AlpacaSource, TakesSynonymsSystemAndHistory) {
  const TempFolder folder;
  const auto records = read_all(folder.write("a.json",
                                             R"([{"question": "q", "answer": "a"},
          {"system": "s", "history": [["h1", "h2"]], "prompt": "p", "input": "", "completion": "c"}])"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_THAT(records[0].messages, ElementsAre(Message{"user", "q"}, Message{"assistant", "a"}));
  EXPECT_THAT(records[1].messages,
              ElementsAre(Message{"system", "s"}, Message{"user", "h1"}, Message{"assistant", "h2"},
                          Message{"user", "p"}, Message{"assistant", "c"}));
}

TEST(AlpacaSource, NamesTheFieldThatIsMissingAndItsMisspelling) {
  const TempFolder folder;
  const std::string lines = R"({"instruction": "i", "output": "o"})"
                            "\n\n";
  const std::string missing =
      folder.write("a.jsonl", lines + R"({"input": "x", "instruction": "i"})");
  EXPECT_EQ(error_of(missing),
            missing +
                ":3: keys input, instruction; expected also 'output'; add it, or "
                "take the record out");
  const std::string misspelt =
      folder.write("b.jsonl", lines + R"({"instruction": "i", "outptu": "o"})");
  EXPECT_EQ(error_of(misspelt), misspelt +
                                    ":3: keys instruction, outptu; expected also 'output'; is "
                                    "'outptu' meant to be 'output'?");
  const std::string wrong_type = folder.write("c.jsonl", R"({"instruction": "i", "output": 3})");
  EXPECT_EQ(error_of(wrong_type),
            wrong_type + ":1: 'output' is a number, expected a string; put it into quotes");
}

TEST(MessagesSource, ReadsRolesOfBothSpellings) {
  const TempFolder folder;
  const auto records = read_all(folder.write(
      "m.jsonl",
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]})"
      "\n"
      R"({"system": "be kind", "conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "never answered"}]})"
      "\n"
      R"({"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]})"));
  ASSERT_EQ(records.size(), 3u);
  EXPECT_THAT(records[0].messages,
              ElementsAre(Message{"system", "s"}, Message{"user", "u"}, Message{"assistant", "a"}));
  EXPECT_THAT(records[1].messages, ElementsAre(Message{"system", "be kind"}, Message{"user", "u"},
                                               Message{"assistant", "a"}));
  EXPECT_THAT(records[2].messages, ElementsAre(Message{"user", "p"}, Message{"assistant", "c"}));
}

TEST(MessagesSource, KeepsWhatAChatTemplateMayLookAtInTheOrderOfTheFile) {
  const TempFolder folder;
  const std::string call = R"({"name": "f", "arguments": {"z": 1, "b": 2}})";
  const auto records = read_all(folder.write(
      "t.jsonl",
      R"({"tools": [{"z": 1, "b": 2}], "documents": "[{\"z\": 1, \"b\": 2}]", "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": null, "tool_calls": [{"function": )" +
          call +
          R"(}]}, {"role": "tool", "name": "f", "content": "x"}, {"role": "assistant", "content": "a"}]})"
          "\n"
          R"({"tools": "[1]", "conversations": [{"from": "human", "value": "u"}, {"from": "function_call", "value": )" +
          nlohmann::json(call).dump() +
          R"(}, {"from": "observation", "value": "x"}, {"from": "gpt", "value": "a"}]})"));
  const auto& messages = records.at(0).messages;
  EXPECT_EQ(records[0].tools.dump(), R"([{"z":1,"b":2}])");
  EXPECT_EQ(records[0].documents.dump(), R"([{"z":1,"b":2}])");
  EXPECT_EQ(messages.at(1).as_written["tool_calls"][0]["function"]["arguments"].dump(),
            R"({"z":1,"b":2})");
  EXPECT_TRUE(messages.at(1).as_written["content"].is_null());
  EXPECT_EQ(messages.at(2).as_written["name"], "f");
  EXPECT_TRUE(messages.at(3).as_written.is_null());
  EXPECT_EQ(records.at(1).messages.at(1).as_written.dump(),
            R"({"role":"assistant","content":"","tool_calls":[{"type":"function","function":)" +
                nlohmann::ordered_json::parse(call).dump() + "}]}");
  EXPECT_EQ(records[1].messages.at(2).role, "tool");
  EXPECT_EQ(records[1].messages[2].as_written.dump(), R"({"role":"observation","content":"x"})");
  EXPECT_TRUE(records[0].notes.empty());
}

TEST(MessagesSource, RefusesUnknownRolesAndConversationsWithoutAnAnswer) {
  const TempFolder folder;
  const std::string other =
      folder.write("t.jsonl", R"({"messages": [{"role": "critic", "content": "x"}]})");
  EXPECT_EQ(error_of(other), other + ":1: role 'critic', expected system, user, assistant or tool");
  const std::string open =
      folder.write("o.jsonl", R"({"messages": [{"role": "user", "content": "x"}]})");
  EXPECT_EQ(
      error_of(open),
      open +
          ":1: a conversation without an assistant turn, expected at least one answer to learn; "
          "add the answer, or take the conversation out");
}

TEST(TokenizedSource, TakesUnshiftedLabelsAndLeavesPaddingOut) {
  const TempFolder folder;
  const auto records = read_all(folder.write(
      "t.jsonl",
      R"({"input_ids": [0, 0, 5, 6, 7], "labels": [-100, -100, -100, 6, 7], "attention_mask": [0, 0, 1, 1, 1]})"
      "\n"
      R"({"input_ids": [8, 9]})"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_THAT(records[0].tokens.ids, ElementsAre(5, 6, 7));
  EXPECT_THAT(records[0].tokens.loss_mask, ElementsAre(0, 1, 1));
  EXPECT_THAT(records[1].tokens.ids, ElementsAre(8, 9));
  EXPECT_THAT(records[1].tokens.loss_mask, ElementsAre(1, 1));
}

TEST(TokenizedSource, RefusesShiftedLabelsAndUnequalLengths) {
  const TempFolder folder;
  const std::string shifted =
      folder.write("s.jsonl", R"({"input_ids": [5, 6], "labels": [6, -100]})");
  EXPECT_EQ(
      error_of(shifted),
      shifted + ":1: labels[0] = 6, expected 5 (the id there) or -100; labels are not shifted");
  const std::string uneven = folder.write("u.jsonl", R"({"input_ids": [5, 6], "labels": [5]})");
  EXPECT_EQ(
      error_of(uneven),
      uneven + ":1: 'labels' has 1 entries, expected 2, as 'input_ids' has; write one for each id");
  const std::string negative = folder.write("n.jsonl", R"({"input_ids": [5, -1]})");
  EXPECT_EQ(
      error_of(negative),
      negative + ":1: input_ids[1] = -1, expected a token id; write ids of the base's tokenizer");
}

TEST(TextSources, ReadRecordsLinesAndWholeDocuments) {
  const TempFolder folder;
  EXPECT_EQ(read_all(folder.write("t.jsonl", R"({"text": "one"})")).at(0).text, "one");
  const std::string plain = folder.write("p.txt",
                                         "\xEF\xBB\xBF"
                                         "first line\r\n\n  second: line\n");
  EXPECT_EQ(find_sources(plain, "auto").formats.front(), "lines");
  const auto lines = read_all(plain);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].text, "first line");
  EXPECT_EQ(lines[1].text, "second: line");
  EXPECT_EQ(lines[1].where, plain + ":3");
  const auto document = read_all(plain, "document");
  ASSERT_EQ(document.size(), 1u);
  EXPECT_EQ(document[0].text, "first line\r\n\n  second: line");
}

std::vector<std::string> notes_of(const std::string& path) {
  std::vector<std::string> notes;
  for (const Record& record : read_all(path))
    notes.insert(notes.end(), record.notes.begin(), record.notes.end());
  return notes;
}

TEST(StructuredSources, ReadNamesWithCapitalsAndSayIt) {
  const TempFolder folder;
  const std::string capitals = R"({"Instruction": "i", " Output ": "o"})";
  for (const std::string& path :
       {folder.write("a.jsonl", capitals), folder.write("b.csv", "Instruction,Output\ni,o\n"),
        folder.write("c.csv", "PROMPT,RESPONSE\ni,o\n")}) {
    const std::vector<Record> records = read_all(path);
    ASSERT_EQ(records.size(), 1u) << path;
    EXPECT_THAT(records[0].messages, ElementsAre(Message{"user", "i"}, Message{"assistant", "o"}));
    EXPECT_EQ(records[0].notes.size(), 2u) << path;
  }
  const auto both = read_all(
      folder.write("d.jsonl", R"({"instruction": "i", "output": "right", "Output": "left out"})"));
  EXPECT_EQ(both[0].messages[1].content, "right");
  EXPECT_THAT(both[0].notes, ElementsAre("'Output' is left out beside 'output'"));
  EXPECT_THAT(
      error_of(folder.write("e.jsonl", R"({"Prompt": "p", "Chosen": "c", "Rejected": "r"})")),
      testing::HasSubstr("a preference record"));
}

TEST(StructuredSources, EveryWrongShapeIsNamedWithAWayOn) {
  const TempFolder folder;
  int number = 0;
  for (
      const auto& [record, ending] : std::vector<std::pair<std::string, std::string>>{
          {"{}", "a record without keys, expected fields to learn; fill it or take it out"},
          {"[null]", "null, expected a record {\"key\": value, ...}; take it out"},
          {"[1]", "write one record per line, or all of them in one list"},
          {R"(["a", "b"])", R"(write {"text": "..."}, or one text per line into a .txt file)"},
          {R"({"instruction": 5, "output": "o"})",
           "'instruction' is a number, expected a string; put it into quotes"},
          {R"({"instruction": "i", "output": ["o"]})", "write it as one text in quotes"},
          {R"({"instruction": "i", "output": null})", "fill it, or take the record out"},
          {R"({"messages": "hi"})",
           R"(write "messages": [{"role": "user", "content": "..."}, ...], a text to learn whole as "text")"},
          {R"({"messages": null})", "'messages' is null: fill it"},
          {R"({"input_ids": "1 2"})", "write whole numbers without quotes: [1, 2, 3]"},
          {R"({"问题": "q", "答案": "a"})",
           "rename '答案' to 'output' and '问题' to 'instruction'"},
          {R"({"question": "q", "答案": "a"})", "rename '答案' to 'output'"},
          {R"({"instrution": "q", "ouput": "a"})",
           "rename 'instrution' to 'instruction' and 'ouput' to 'output'"},
          {R"({"conversation": [{"role": "user", "content": "q"}]})",
           "rename 'conversation' to 'messages'"},
          {R"({"对话": [{"from": "human", "value": "q"}]})", "rename '对话' to 'messages'"},
          {R"({"dialog": ["q", "a"]})",
           R"(write 'dialog' as "messages": [{"role": "user", "content": "..."}, ...])"},
          {R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])",
           R"(it is a turn: write each conversation as {"messages": [...]} on a line of its own)"},
          {R"([[{"role": "user", "content": "q"}]])",
           R"(write each conversation as {"messages": [...]})"}}) {
    const std::string path = folder.write(std::to_string(++number) + ".json", record);
    EXPECT_THAT(error_of(path), testing::EndsWith(ending));
  }
}

TEST(StructuredSources, ReadLinesThatEndWithACarriageReturnAlone) {
  const TempFolder folder;
  const auto rows = read_all(folder.write("a.csv", "question,answer\rq,\"a\rb\"\rq2,a2\r"));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].messages[1].content, "a\nb");
  EXPECT_EQ(rows[1].messages[0].content, "q2");
  EXPECT_EQ(read_all(folder.write("b.txt", "one\r\rtwo\r"), "lines").size(), 2u);
  EXPECT_EQ(read_all(folder.write("c.jsonl", "{\"text\": \"a\"}\r{\"text\": \"b\"}\r")).size(), 2u);
  // A file of other line ends keeps its carriage returns.
  EXPECT_EQ(read_all(folder.write("d.txt", "one\rtwo\nthree\n"), "lines").size(), 2u);
}

TEST(AlpacaSource, TakesTheSystemTextOfItsRecord) {
  const TempFolder folder;
  const auto records = read_all(folder.write(
      "a.jsonl", R"({"system_prompt": "Be brief.", "question": "q", "response": "r", "id": 7})"));
  EXPECT_THAT(records.at(0).messages, ElementsAre(Message{"system", "Be brief."},
                                                  Message{"user", "q"}, Message{"assistant", "r"}));
  EXPECT_TRUE(records.at(0).notes.empty());
}

TEST(AlpacaSource, TakesInputAndOutputAloneAsQuestionAndAnswer) {
  const TempFolder folder;
  const auto records = read_all(folder.write("a.jsonl", R"({"input": "q", "output": "a"})"));
  EXPECT_THAT(records.at(0).messages, ElementsAre(Message{"user", "q"}, Message{"assistant", "a"}));
}

TEST(AlpacaSource, WinsOverATextBesideIt) {
  const TempFolder folder;
  const std::string path = folder.write(
      "a.jsonl", R"({"instruction": "q", "input": "", "output": "a", "text": "### q ### a"})");
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "alpaca");
  EXPECT_THAT(notes_of(path),
              ElementsAre("'text' is left out: 'instruction', 'output' are learnt"));
  EXPECT_EQ(find_sources(folder.write("t.jsonl", R"({"text": "t", "prompt": "p"})"), "auto")
                .formats.front(),
            "text");
}

TEST(AlpacaSource, SaysWhichSynonymIsUsedAndTakesNoNullForOne) {
  const TempFolder folder;
  EXPECT_THAT(
      notes_of(folder.write("a.jsonl", R"({"instruction": "i", "question": "q", "output": "o"})")),
      ElementsAre("'question' is left out: 'instruction' is used"));
  EXPECT_THAT(
      notes_of(folder.write(
          "b.jsonl", R"({"instruction": "", "question": "q", "output": "o", "answer": "o"})")),
      ElementsAre());
  const auto records = read_all(folder.write(
      "c.jsonl", R"({"instruction": null, "messages": null, "question": "q", "output": "o"})"));
  EXPECT_EQ(records.at(0).messages.at(0).content, "q");
}

TEST(EveryRecord, SaysWhichKeysThatChangeWhatIsLearntAreNotObeyed) {
  const TempFolder folder;
  EXPECT_THAT(
      notes_of(folder.write(
          "a.jsonl",
          R"({"instruction": "i", "output": "o", "weight": 0.5, "tools": [{"name": "f"}], "id": 1})"
          "\n"
          R"({"instruction": "i", "output": "o", "weight": 1, "tools": [], "label": null})")),
      ElementsAre("'weight' of a record is not obeyed: all records are learnt alike"));
  EXPECT_THAT(
      notes_of(folder.write(
          "m.jsonl",
          R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}], "chat_template_kwargs": {"enable_thinking": false}})")),
      ElementsAre(
          "'chat_template_kwargs' is not obeyed: the chat template runs without arguments"));
}

TEST(EveryRecord, SaysThatAnAnswerIsEmptyAndThatAMaskIsNotObeyed) {
  const TempFolder folder;
  constexpr auto kEmpty = "an answer is empty: only the token that ends it is learnt";
  EXPECT_THAT(notes_of(folder.write(
                  "a.jsonl", R"({"prompt": "i", "completion": " ", "completion_mask": [1, 0]})")),
              testing::UnorderedElementsAre(
                  kEmpty, "'completion_mask' is not obeyed: answers are learnt whole"));
  EXPECT_THAT(
      notes_of(folder.write(
          "m.jsonl",
          R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})")),
      ElementsAre(kEmpty));
}

TEST(EveryRecord, IsRefusedWhereItIsOfAnotherKindOfTraining) {
  const TempFolder folder;
  for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
           {R"({"prompt": "p", "completion": "c", "label": false})", "a judged answer"},
           {R"({"instruction": "p", "output": "c", "images": ["a.jpg"]})", "'images' beside"}})
    EXPECT_THAT(error_of(folder.write("a.jsonl", text)), testing::HasSubstr(name));
  EXPECT_EQ(
      error_of(folder.write("a.jsonl", R"({"prompt": "p", "completion": "c", "images": []})")),
      "no error");
}

TEST(MessagesSource, ObeysTheKeysOfATurnThatSayWhatIsLearnt) {
  const TempFolder folder;
  for (const char* key : {R"("weight": 0)", R"("train": false)", R"("loss": false)"}) {
    const std::string path =
        folder.write("m.jsonl", std::string(R"({"messages": [{"role": "user", "content": "u"}, )") +
                                    R"({"role": "assistant", "content": "bad", )" + key +
                                    R"(}, {"role": "user", "content": "v"}, )"
                                    R"({"role": "assistant", "content": "good", "weight": 1}]})");
    const auto records = read_all(path);
    EXPECT_FALSE(records.at(0).messages.at(1).learn) << key;
    EXPECT_TRUE(records.at(0).messages.at(3).learn) << key;
    EXPECT_TRUE(records.at(0).notes.empty());
  }
}

TEST(MessagesSource, SaysWhatOfATurnIsNotObeyed) {
  const TempFolder folder;
  EXPECT_THAT(
      notes_of(folder.write(
          "m.jsonl",
          R"({"prompt": "u", "text": "x", "messages": [{"role": "user", "content": "u", "train": true}, {"role": "assistant", "content": "a", "weight": 0.5, "prefix": true, "ignore": false}]})")),
      ElementsAre("'train' of a turn that is no answer is not obeyed: answers alone are learnt",
                  "'prefix' of a turn is not obeyed: a turn is learnt as a whole",
                  "'weight' of a turn is neither 0 nor 1: the turn is learnt as with 1",
                  "'text' is left out: 'messages' is learnt"));
  EXPECT_THAT(
      error_of(folder.write(
          "t.jsonl",
          R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": null, "function_call": {"name": "f"}}]})")),
      testing::HasSubstr("a turn with 'function_call'"));
  EXPECT_THAT(
      error_of(folder.write(
          "n.jsonl",
          R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a", "weight": 0}]})")),
      testing::HasSubstr("answers all say that they are not learnt"));
}

TEST(CsvRecords, NameARowWhoseFieldsDoNotFitTheHeader) {
  const TempFolder folder;
  const std::string header = "instruction,input,output\n";
  const std::string path = folder.write("t.csv", header + "What is 2, doubled?,none,4\n");
  EXPECT_EQ(error_of(path),
            path +
                ":2: 4 fields, expected 3 as in the header (instruction, input, output); put "
                "quotes around a field that holds a separator or a line end");
  EXPECT_THAT(error_of(folder.write("u.csv", header + "q,a\n")),
              testing::HasSubstr(":2: 2 fields"));
  EXPECT_THAT(error_of(folder.write("v.csv", "instruction,output\nWhat is 2, doubled?,4\n")),
              testing::HasSubstr(":2: 3 fields"));
  const std::string prose = folder.write("w.csv", header + "q,i,red, green, blue\n");
  EXPECT_EQ(read_all(prose).at(0).messages.at(1).content, "red, green, blue");
  EXPECT_THAT(notes_of(prose), ElementsAre(testing::HasSubstr("commas without quotes")));
}

TEST(CsvRecords, NameColumnsThatStandTwiceAndFieldsThatAreTooLong) {
  const TempFolder folder;
  const std::string twice = folder.write("t.csv", "instruction,output,output\na,b,c\n");
  EXPECT_EQ(error_of(twice), twice + ":1: column 'output' stands twice (2 and 3); rename one");
  const std::string huge =
      folder.write("u.csv", "instruction,output\n\"" + std::string(1100 << 10, 'x') + "\",o\n");
  EXPECT_THAT(error_of(huge),
              testing::HasSubstr(":2: a field of more than 1 MiB, expected at most"));
}

TEST(CsvRecords, LoseOneRowToAQuoteThatIsNeverClosed) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.csv", "instruction,output\n\"0\",a\n\"oops,a\n\"2\",\"a\"\n3,a\n");
  const auto source = open_source(path, "alpaca");
  std::vector<std::string> questions;
  while (questions.size() < 100) {
    try {
      const auto record = source->next();
      if (!record) break;
      questions.push_back(record->messages.at(0).content);
    } catch (const DataError&) {
      questions.push_back("-");
    }
  }
  EXPECT_THAT(questions, ElementsAre("0", "-", "2", "3"));
}

TEST(TsvRecords, AreSeparatedByTabsAndCsvAsItsHeaderIs) {
  const TempFolder folder;
  const auto expect_one = [&](const char* name, const std::string& text) {
    const auto records = read_all(folder.write(name, text));
    ASSERT_EQ(records.size(), 1u) << text;
    EXPECT_THAT(records[0].messages,
                ElementsAre(Message{"user", "q, r"}, Message{"assistant", "a"}));
  };
  expect_one("t.tsv", "instruction\toutput\nq, r\ta\n");
  expect_one("t.csv", "instruction;output\nq, r;a\n");
  expect_one("u.csv", "\"instruction\", \"output\"\n\"q, r\", \"a\"\n");
  expect_one("v.csv", ",instruction,output\n0,\"q, r\",a\n");
}

TEST(CsvRecords, AreReadByTheirHeader) {
  const TempFolder folder;
  const auto records = read_all(folder.write(
      "t.csv",
      "instruction,output\n\"say \"\"hi\"\", twice\",\"hi\nhi\"\nplain,unquoted, with a comma\n"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_THAT(records[0].messages,
              ElementsAre(Message{"user", "say \"hi\", twice"}, Message{"assistant", "hi\nhi"}));
  EXPECT_THAT(records[1].messages, ElementsAre(Message{"user", "plain"},
                                               Message{"assistant", "unquoted, with a comma"}));
}

TEST(PreferenceRecords, AreRefusedWhateverElseTheyHold) {
  const TempFolder folder;
  const std::string path =
      folder.write("p.jsonl", R"({"prompt": "p", "chosen": "c", "rejected": "r"})");
  EXPECT_THAT(
      error_of(path),
      testing::StartsWith(
          path + ":1: a preference record (an answer that is rejected), expected one answer"));
  const std::string other =
      folder.write("o.jsonl", R"({"prompt": "p", "completion": "c", "rejected_response": "r"})");
  EXPECT_THAT(error_of(other), testing::HasSubstr("a preference record"));
}

TEST(TokenizedSource, TakesALossMaskForLabels) {
  const TempFolder folder;
  for (const char* name : {"loss_mask", "completion_mask"}) {
    const auto records = read_all(folder.write(
        "m.jsonl", fmt::format(R"({{"input_ids": [5, 6, 7], "{}": [0, 1, 0]}})", name)));
    EXPECT_THAT(records.at(0).tokens.loss_mask, ElementsAre(0, 1, 0)) << name;
  }
}

TEST(TokenizedSource, RefusesAHoleInTheAttentionMask) {
  const TempFolder folder;
  const std::string path =
      folder.write("h.jsonl", R"({"input_ids": [3, 4, 5], "attention_mask": [1, 0, 1]})");
  EXPECT_THAT(error_of(path), testing::HasSubstr(":1: attention_mask[1] = 0 inside the sample"));
}

}  // namespace
}  // namespace lora_dist
