#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "core/base/error.hpp"
#include "data/sources/source.hpp"
#include "data/sources/source_format.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kAlpaca = R"({"instruction": "i", "output": "o"})";

std::string find_error(const std::string& path, const std::string& format = "auto") {
  try {
    find_sources(path, format);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

int64_t peak_memory_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// Reads records until the end and returns the errors met.
std::vector<std::string> read_errors(const std::string& path, const std::string& format) {
  const auto source = open_source(path, format);
  std::vector<std::string> errors;
  while (errors.size() < 100) {
    try {
      if (!source->next()) break;
    } catch (const DataError& error) {
      errors.push_back(error.what());
    }
  }
  return errors;
}

TEST(FindSources, SortsTheDataFilesOfAFolderAndLeavesTheOthersOut) {
  const TempFolder folder;
  for (const char* name :
       {"b.jsonl", "a.json", ".hidden.jsonl", "README.md", "dataset_info.json", "picture.jpg"})
    folder.write(name, kAlpaca);
  const SourceFiles found = find_sources(folder.path(), "auto");
  EXPECT_THAT(found.paths, ElementsAre(folder.file("a.json"), folder.file("b.jsonl")));
  EXPECT_EQ(found.formats.front(), "alpaca");
}

TEST(FindSources, TellsJsonByItsContentAndNotByItsName) {
  const TempFolder folder;
  EXPECT_EQ(find_sources(folder.write("lines.json", std::string(kAlpaca) + "\n" + kAlpaca), "auto")
                .formats.front(),
            "alpaca");
  EXPECT_EQ(find_sources(folder.write("array.jsonl", "\n [" + std::string(kAlpaca) + "]"), "auto")
                .formats.front(),
            "alpaca");
  EXPECT_EQ(find_sources(folder.write("records.txt", R"({"text": "t"})"), "auto").formats.front(),
            "text");
  EXPECT_EQ(find_sources(folder.write("note.txt", "[1] see below\nmore"), "auto").formats.front(),
            "lines");
}

TEST(FindSources, SaysWhatIsWrongWithAPath) {
  const TempFolder folder;
  EXPECT_EQ(find_error(folder.file("none")),
            folder.file("none") + ": no such file or folder; check the path");
  EXPECT_EQ(find_error(folder.path()),
            folder.path() + "/: no .jsonl, .json, .csv, .tsv, .txt or .h5 files; check the path");
  const std::string empty = folder.write("empty.jsonl", "");
  EXPECT_EQ(find_error(empty), empty + ": 0 bytes, expected records; fill it or take it away");
  const std::string other = folder.write("other.jsonl", R"({"foo": 1})");
  EXPECT_EQ(find_error(other),
            other +
                ":1: keys foo, expected instruction and output, messages, conversations, text "
                "or input_ids; rename the keys");
  EXPECT_EQ(find_error(other, "alpca"),
            "data_format: unknown data_format 'alpca'; did you mean 'alpaca'? known: tokenized, "
            "messages, text, alpaca, "
            "dialogue, lines, document");
}

TEST(FindSources, TakesEveryFileOfAFolderForWhatItIs) {
  const TempFolder folder;
  folder.write("a.jsonl", kAlpaca);
  folder.write("b.CSV", "text\nt\n");
  folder.write("c/d.txt", "用户：q\n律师：a\n");
  EXPECT_THAT(find_sources(folder.path(), "auto").formats,
              ElementsAre("alpaca", "text", "dialogue"));
  const std::string unknown = folder.write("e.jsonl", R"({"foo": 1})");
  EXPECT_THAT(find_error(folder.path()), testing::StartsWith(unknown + ":1: keys foo"));
}

TEST(FindSources, LeavesFilesNamedAsEvaluationDataOutOfTrainingAndSaysSo) {
  const TempFolder folder;
  folder.write("train.jsonl", kAlpaca);
  for (const char* name : {"heldout.jsonl", "test-00000-of-00001.json", "my_eval.jsonl", "dev2.csv",
                           "held-out.txt", "newsTest.jsonl", "validation/train.jsonl"})
    folder.write(name, "instruction,output\ni,o\n");
  for (const char* name : {"latest.jsonl", "evaluate_train.jsonl", "contest.jsonl", "more/a.jsonl"})
    folder.write(name, kAlpaca);
  const SourceFiles found = find_sources(folder.path(), "auto");
  EXPECT_THAT(found.paths,
              ElementsAre(folder.file("contest.jsonl"), folder.file("evaluate_train.jsonl"),
                          folder.file("latest.jsonl"), folder.file("more/a.jsonl"),
                          folder.file("train.jsonl")));
  EXPECT_THAT(found.notes,
              ElementsAre(folder.file("dev2.csv") + ", " + folder.file("held-out.txt") + ", " +
                          folder.file("heldout.jsonl") +
                          " and 4 more: not trained on, named as evaluation data; hold it out with "
                          "val_data_path, or give its own path to train on it"));
}

TEST(FindSources, SaysThatLinesLookLikeTurnsWhereTheyAreReadAsLines) {
  const TempFolder folder;
  for (const char* text : {"Speaker 1: hi\nSpeaker 2: yo\n",
                           "<|im_start|>user a<|im_end|><|im_start|>assistant b<|im_end|>\n"
                           "<|im_start|>user c<|im_end|><|im_start|>assistant d<|im_end|>\n"}) {
    const std::string path = folder.write("t.txt", text);
    const SourceFiles found = find_sources(path, "auto");
    EXPECT_THAT(found.formats, ElementsAre("lines"));
    EXPECT_THAT(found.notes, ElementsAre(testing::HasSubstr("look like turns"))) << text;
    EXPECT_THAT(find_sources(path, "lines").notes, ElementsAre());
  }
  const std::string prose = folder.write("p.txt", "One line.\nSee http://a.b\nAnd another.\n");
  EXPECT_THAT(find_sources(prose, "auto").notes, ElementsAre());
}

TEST(FindSources, TakesAFileThatIsGivenByItsPathOrToEvaluateWithWhateverItsName) {
  const TempFolder folder;
  const std::string path = folder.write("test.jsonl", kAlpaca);
  EXPECT_THAT(find_sources(path, "auto").paths, ElementsAre(path));
  EXPECT_THAT(find_sources(folder.path(), "auto", DataUse::kEvaluation).paths, ElementsAre(path));
  EXPECT_EQ(find_error(folder.path()), folder.path() + "/: only files named as evaluation data (" +
                                           path + "); give the path of one to train on it");
}

TEST(FindSources, NamesFilesThatHoldDataButAreNotRead) {
  const TempFolder folder;
  folder.write("a.jsonl", kAlpaca);
  folder.write("b.parquet", "PAR1");
  folder.write("c.dat", "?");
  folder.write("run/run.json", "{}");
  folder.write("run/metrics.jsonl", R"({"step": 1})");
  EXPECT_THAT(find_sources(folder.path(), "auto").notes,
              ElementsAre(testing::StartsWith(folder.file("b.parquet") + ": not read; write it as"),
                          testing::StartsWith(folder.file("c.dat") + ": not read, no known kind")));
  const std::vector<std::pair<std::string, std::string>> kForeign = {
      {"PAR1....", "a parquet file"},
      {std::string("\x1F\x8B\x08\x00", 4), "compressed by gzip"},
      {"PK\x03\x04....", "a zip archive"},
      {"%PDF-1.7", "a PDF file"},
      {std::string("\xFF\xFE{\x00\"\x00", 6), "text in UTF-16"},
      {std::string("{\0\"\0t\0e\0x\0t\0\"\0", 14), "text in UTF-16"}};
  for (const auto& [content, name] : kForeign)
    for (const char* format : {"auto", "lines"})
      EXPECT_THAT(find_error(folder.write("f/data.jsonl", content), format),
                  testing::StartsWith(folder.file("f/data.jsonl") + ": " + name +
                                      ", which is not read here; "));
}

TEST(FindSources, NamesTablesAndMarkupThatAreCalledText) {
  const TempFolder folder;
  const std::string table = folder.write("t.txt", "instruction\toutput\nq\ta\n");
  EXPECT_EQ(find_error(table),
            table + ": a table with columns instruction, output; call it .csv or .tsv");
  EXPECT_THAT(find_error(folder.write("t.xml", "<a/>")),
              testing::HasSubstr("a .xml file, which is not read here"));
  EXPECT_THAT(find_error(folder.write("t.jsonl", "plain words")),
              testing::HasSubstr("t.jsonl:1: unexpected 'p'"))
      << "a broken .jsonl is no text";
}

TEST(JsonLines, NameLineColumnAndExpectation) {
  const TempFolder folder;
  // 39 bytes on the second line; the third has a key twice; the fourth is no object; the fifth is
  // fine.
  const std::string path = folder.write(
      "train.jsonl", std::string(kAlpaca) + "\n" + R"({"instruction": "a", "output": "unclosed)" +
                         "\n" + R"({"output": "a", "output": "b"})" + "\n" + "7\n" + kAlpaca);
  const auto errors = read_errors(path, "alpaca");
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_EQ(errors[0], path + ":2: column 41: unexpected end of text, expected '\"'");
  EXPECT_THAT(errors[1], testing::StartsWith(path + ":3: key 'output' "));
  EXPECT_THAT(errors[2], testing::StartsWith(path + ":4: a number, expected a record"));
}

TEST(JsonArray, NamesTheLineOfABrokenElementAndGoesOnBehindIt) {
  const TempFolder folder;
  const std::string path =
      folder.write("train.json", "[\n" + std::string(kAlpaca) + ",\n" + R"({"instruction": "a",)" +
                                     "\n\"output\" \"b\"},\n" + kAlpaca + "\n]\n");
  const auto errors = read_errors(path, "alpaca");
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], testing::StartsWith(path + ":4: column 11: "));
}

/// The questions of the records that can be read, and "-" for each broken one.
std::vector<std::string> questions_of(const std::string& path) {
  const auto source = open_source(path, "alpaca");
  std::vector<std::string> questions;
  while (questions.size() < 1000) {
    try {
      const auto record = source->next();
      if (!record) break;
      questions.push_back(record->messages.at(0).content);
    } catch (const DataError&) {
      questions.push_back("-");
    }
  }
  return questions;
}

std::string alpaca_of(const std::string& question) {
  return R"({"instruction": ")" + question + R"(", "output": "a", "turns": [{"role": "x"}]})";
}

TEST(JsonArray, LosesOneRecordToAQuoteThatIsNotEscaped) {
  const TempFolder folder;
  const std::string broken = R"({"instruction": "say "hi now", "output": "a"})";
  const std::string records = alpaca_of("0") + ",\n" + broken + ",\n" + alpaca_of("2") + ",\n" +
                              broken + ",\n" + alpaca_of("4");
  for (const std::string& text :
       {"[\n" + records + "\n]", "[" + records + "]", "{\"data\": [" + records + "], \"n\": 5}"})
    EXPECT_THAT(questions_of(folder.write("t.json", text)), ElementsAre("0", "-", "2", "-", "4"))
        << text;
  std::string one_line = records;
  std::erase(one_line, '\n');
  EXPECT_THAT(questions_of(folder.write("t.json", "[" + one_line + "]")),
              ElementsAre("0", "-", "2", "-", "4"));
  EXPECT_THAT(questions_of(folder.write("t.json", "[\n" + broken + ",\n" + alpaca_of("1") + "]")),
              ElementsAre("-", "1"));
}

TEST(JsonArray, FindsTheNextRecordBehindBracketsAndCommasThatAreMissing) {
  const TempFolder folder;
  const auto read = [&](const std::string& middle) {
    return questions_of(folder.write("t.json", "[\n " + alpaca_of("0") + ",\n " + middle + "\n " +
                                                   alpaca_of("2") + ",\n " + alpaca_of("3") +
                                                   "\n]\n"));
  };
  EXPECT_THAT(read(R"({"instruction": "1", "output": "a",)"), ElementsAre("0", "-", "2", "3"));
  EXPECT_THAT(read(R"({"instruction": "1", "output": ["a"},)"), ElementsAre("0", "-", "2", "3"));
  EXPECT_THAT(read(R"("instruction": "1", "output": "a"},)"), ElementsAre("0", "-", "2", "3"));
  EXPECT_THAT(read(R"({"instruction": "1", "output": "a)"), ElementsAre("0", "-", "2", "3"));
  EXPECT_THAT(read(alpaca_of("1")), ElementsAre("0", "1", "-", "2", "3"))
      << "a missing comma is said, and no record is lost";
  EXPECT_THAT(read("garbage,"), ElementsAre("0", "-", "2", "3"));
}

TEST(JsonArray, SaysHowManyRecordsItCannotReachAnyMore) {
  const TempFolder folder;
  std::string text = "[\n";
  for (int i = 0; i < 10; ++i) text += alpaca_of("0") + ",\n";
  text += "{\"instruction\": oops,\n";
  for (int i = 0; i < 20; ++i) text += "  {\"other\": \"kind of record, as long as the first\"},\n";
  const std::string path = folder.write("t.json", text + "]");
  const auto errors = read_errors(path, "alpaca");
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0], path +
                           ":12: column 17: unexpected 'o'; about 16 records behind it cannot "
                           "be read; mend this one");
}

TEST(JsonArray, ReadsOneLineOfAnyLengthInLittleMemory) {
  const TempFolder folder;
  const std::string path = folder.file("t.json");
  constexpr int kNumRecords = 40'000;  // 40 MB
  {
    std::ofstream file(path);
    for (int i = 0; i < kNumRecords; ++i)
      file << (i == 0 ? "[" : ", ") << alpaca_of(std::string(1000, 'x'));
    file << "]";
  }
  EXPECT_EQ(find_sources(path, "auto").formats.front(), "alpaca");
  const auto source = open_source(path, "alpaca");
  const int64_t before = peak_memory_kib();
  int num_records = 0;
  while (source->next()) ++num_records;
  EXPECT_EQ(num_records, kNumRecords);
  EXPECT_LT(peak_memory_kib() - before, 8 << 10);
}

TEST(JsonArray, NumbersTheRecordsThatShareALine) {
  const TempFolder folder;
  const std::string path = folder.write("t.json", "[" + alpaca_of("0") + ", {\"a\": 1}]");
  EXPECT_THAT(read_errors(path, "alpaca"),
              ElementsAre(testing::StartsWith(path + ":1 (record 2): keys a;")));
}

TEST(JsonObjects, AreReadOneAfterTheOtherWhereNoListHoldsThem) {
  const TempFolder folder;
  const std::string pretty = "{\n \"instruction\": \"0\",\n \"output\": \"a\"\n}\n";
  for (const char* name : {"t.json", "t.jsonl", "t.txt"}) {
    const std::string path = folder.write(name, pretty + pretty);
    EXPECT_EQ(find_sources(path, "auto").formats.front(), "alpaca");
    EXPECT_THAT(questions_of(path), ElementsAre("0", "0"));
  }
  EXPECT_THAT(questions_of(folder.write("t.json", alpaca_of("0") + alpaca_of("1"))),
              ElementsAre("0", "1"));
  EXPECT_THAT(questions_of(folder.write("t.json", alpaca_of("0") + ",\n" + alpaca_of("1"))),
              ElementsAre("0", "1"));
  EXPECT_THAT(questions_of(folder.write(
                  "t.json", "{\n \"data\": [\n" + alpaca_of("0") + "\n],\n\"n\": 1}\n")),
              ElementsAre("0"));
  // One object per line, the first of which is cut.
  EXPECT_THAT(
      questions_of(folder.write("t.jsonl", "{\"instruction\": \"0\",\n" + alpaca_of("1") + "\n")),
      ElementsAre("-", "1"));
}

TEST(JsonObjects, NameASecondListOfRecords) {
  const TempFolder folder;
  const std::string path = folder.write(
      "t.json", "{\"train\": [" + alpaca_of("0") + "],\n\"test\": [" + alpaca_of("1") + "]}");
  EXPECT_EQ(
      read_errors(path, "alpaca"),
      std::vector{path + ":2: a second list of records, \"test\", expected one list per file; "
                         "write each list into a file of its own"});
}

TEST(JsonText, NamesHalfOfASurrogatePairAndPythonsOwnSpellings) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.jsonl", R"({"instruction": "q", "output": "a \ud83d end"})"
                              "\n"
                              R"({"instruction": "q", "output": "a \ude00"})"
                              "\n{'instruction': 'q'}\n"
                              R"({"instruction": "q", "output": NaN})");
  const auto errors = read_errors(path, "alpaca");
  ASSERT_EQ(errors.size(), 4u);
  for (const int i : {0, 1}) EXPECT_THAT(errors[i], HasSubstr("half of a surrogate pair"));
  EXPECT_THAT(errors[2], HasSubstr("Python prints a dict"));
  EXPECT_THAT(errors[3], HasSubstr("write null"));
}

TEST(JsonArray, EndsWithAnErrorWhereTheFileIsCut) {
  const TempFolder folder;
  const std::string path = folder.write("train.json", "[" + std::string(kAlpaca) + ",\n");
  EXPECT_THAT(read_errors(path, "alpaca"),
              ElementsAre(path + ":2: unexpected end of text, expected a record or ']'"));
}

TEST(LineReader, RefusesWhatIsNotCleanText) {
  const TempFolder folder;
  const std::string path = folder.write("t.txt", std::string("good\nb\xB0 d\nz\0ro\nfine\n", 20));
  EXPECT_THAT(
      read_errors(path, "lines"),
      ElementsAre(
          path + ":2: byte 0xB0 in column 2 is not UTF-8; save as UTF-8, from Latin-1 with: iconv "
                 "-f WINDOWS-1252 -t UTF-8 F > G",
          path + ":3: NUL byte in column 2, not a text file; check that this is the data file"));
}

TEST(LineReader, SaysHowGbkBecomesUtf8) {
  const TempFolder folder;
  const std::string path = folder.write("t.txt", "ok\n\xD3\xC3\xBB\xA7\xA3\xBA\n");
  EXPECT_THAT(read_errors(path, "lines"), ElementsAre(HasSubstr("iconv -f GB18030 -t UTF-8")));
}

TEST(LineReader, RefusesALineOfMoreThan16MiBAndReadsOnBehindIt) {
  const TempFolder folder;
  const std::string path =
      folder.write("t.txt", std::string((size_t{16} << 20) + 1, 'x') + "\nnext\n");
  EXPECT_THAT(read_errors(path, "lines"),
              ElementsAre(path + ":1: a line of more than 16 MiB; write one record per line"));
}

class EverySource : public testing::TestWithParam<std::string_view> {};

TEST_P(EverySource, SkipsExactlyTheRecordsThatItReads) {
  const std::map<std::string_view, std::string> kSamples = {
      {"alpaca", R"({"instruction": "i", "output": "o"})"},
      {"messages",
       R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]})"},
      {"text", R"({"text": "t"})"},
      {"tokenized", R"({"input_ids": [1, 2]})"},
      {"dialogue", "用户：q\n客服：a\n"},
      {"lines", "one"},
      {"document", "one"}};
  const std::string name(GetParam());
  ASSERT_TRUE(kSamples.contains(name)) << "write a sample of the new format here";
  const TempFolder folder;
  const std::string path =
      folder.write("t.txt", kSamples.at(name) + "\n" + kSamples.at(name) +
                                (name == "dialogue" ? "\n用户：never answered\n" : "\n{broken\n"));
  const auto count = [&](auto&& advance) {
    const auto source = open_source(path, name);
    int records = 0;
    while (records < 100) {
      try {
        if (!advance(*source)) break;
      } catch (const DataError&) {
      }
      ++records;
    }
    return records;
  };
  const int read = count([](Source& source) { return source.next().has_value(); });
  EXPECT_EQ(count([](Source& source) { return source.skip(); }), read);
  EXPECT_EQ(read, name == "document" ? 1 : 3) << "the broken one counts as a record";
}
INSTANTIATE_TEST_SUITE_P(Registry, EverySource, testing::ValuesIn(source_formats().names()),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lora_dist
