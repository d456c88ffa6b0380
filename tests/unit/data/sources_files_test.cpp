#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "data/sources/source.hpp"
#include "data/sources/source_format.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;

constexpr auto kAlpaca = R"({"instruction": "i", "output": "o"})";

std::string find_error(const std::string& path, const std::string& format = "auto") {
  try {
    find_sources(path, format);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
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
  EXPECT_EQ(found.format, "alpaca");
}

TEST(FindSources, TellsJsonByItsContentAndNotByItsName) {
  const TempFolder folder;
  EXPECT_EQ(find_sources(folder.write("lines.json", std::string(kAlpaca) + "\n" + kAlpaca), "auto")
                .format,
            "alpaca");
  EXPECT_EQ(
      find_sources(folder.write("array.jsonl", "\n [" + std::string(kAlpaca) + "]"), "auto").format,
      "alpaca");
  EXPECT_EQ(find_sources(folder.write("records.txt", R"({"text": "t"})"), "auto").format, "text");
  EXPECT_EQ(find_sources(folder.write("note.txt", "[1] see below\nmore"), "auto").format, "lines");
}

TEST(FindSources, SaysWhatIsWrongWithAPath) {
  const TempFolder folder;
  EXPECT_EQ(find_error(folder.file("none")),
            folder.file("none") + ": no such file or folder; check train_data_dir");
  EXPECT_EQ(
      find_error(folder.path()),
      folder.path() + "/: no .jsonl, .json, .csv, .txt, .h5 or image files; check train_data_dir");
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

TEST(FindSources, RefusesFilesOfDifferentFormats) {
  const TempFolder folder;
  folder.write("a.jsonl", kAlpaca);
  folder.write("b.jsonl", R"({"text": "t"})");
  EXPECT_EQ(find_error(folder.path()),
            folder.file("b.jsonl") + ": format text, but " + folder.file("a.jsonl") +
                " is alpaca, expected one format per data set; separate them, or set data_format");
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
  EXPECT_THAT(errors[0], testing::StartsWith(path + ":4: column 12: "));
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
          path + ":2: byte 0xB0 in column 2 is not UTF-8; save as UTF-8",
          path + ":3: NUL byte in column 2, not a text file; check that this is the data file"));
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
      folder.write("t.txt", kSamples.at(name) + "\n" + kSamples.at(name) + "\n{broken\n");
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
