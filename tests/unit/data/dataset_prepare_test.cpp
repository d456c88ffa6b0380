#include "data/preparation/dataset_prepare.hpp"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "data/streams/batch_stream.hpp"
#include "data/streams/dataset_split.hpp"
#include "tests/support/byte_tokenizer.hpp"
#include "tests/support/one_rank_world.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/text_parts.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class PrepareDataset : public testing::Test {
 protected:
  std::unique_ptr<Dataset> prepare(const std::string& path) {
    request.path = path;
    request.prepared_dir = folder.file("prepared");
    return prepare_dataset(request, &tokenizer, &prompt_template, world);
  }
  std::string error_of(const std::string& path) {
    try {
      prepare(path);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }
  /// The one folder below prepared/.
  std::string prepared_folder() const {
    return fs::directory_iterator(folder.file("prepared"))->path().string();
  }

  TempFolder folder;
  ByteTokenizer tokenizer;
  ByteTemplate prompt_template;
  OneRankWorld world;
  PrepareRequest request{.vocab_size = 259};
};

std::string alpaca(const std::string& question, const std::string& answer) {
  return nlohmann::json{{"instruction", question}, {"output", answer}}.dump() + "\n";
}

TEST_F(PrepareDataset, HoldsEverySampleWithTheMaskOfItsAnswer) {
  const auto dataset = prepare(folder.write("train.jsonl", alpaca("ab", "c") + alpaca("x", "yz")));
  ASSERT_EQ(dataset->num_samples(), 2);
  EXPECT_THAT(dataset->measures().costs, ElementsAre(5, 5));
  EXPECT_THAT(dataset->measures().loss_terms, ElementsAre(2, 3));
  const Tokens first = tokens_of(dataset->read(0));
  EXPECT_THAT(first.ids, ElementsAre(1, 3 + 'a', 3 + 'b', 3 + 'c', 2));
  EXPECT_THAT(first.loss_mask, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_EQ(dataset->stats().num_records, 2);
  EXPECT_EQ(dataset->stats().cost, 10);
  EXPECT_EQ(dataset->stats().loss_terms, 5);
  EXPECT_EQ(dataset->stats().largest_cost, 5);
  EXPECT_EQ(fs::path(prepared_folder()).filename().string(), dataset->fingerprint().substr(0, 16));
}

TEST_F(PrepareDataset, LearnsAllOfAPlainTextWithBosAndEos) {
  const auto dataset = prepare(folder.write("t.txt", "hi\n"));
  const Tokens sample = tokens_of(dataset->read(0));
  EXPECT_THAT(sample.ids, ElementsAre(1, 3 + 'h', 3 + 'i', 2));
  EXPECT_THAT(dataset->measures().loss_terms, ElementsAre(3));
}

TEST_F(PrepareDataset, NeedsNoTokenizerForTokenisedRecords) {
  request.path = folder.write("t.jsonl", R"({"input_ids": [4, 5, 6], "labels": [-100, 5, -100]})");
  request.prepared_dir = folder.file("prepared");
  const auto dataset = prepare_dataset(request, nullptr, nullptr, world);
  EXPECT_THAT(tokens_of(dataset->read(0)).ids, ElementsAre(4, 5, 6));
  EXPECT_THAT(dataset->measures().loss_terms, ElementsAre(1));
}

TEST_F(PrepareDataset, CutsLongSamplesOnTheRightAndCountsThem) {
  request.max_seq_length = 6;
  const auto dataset =
      prepare(folder.write("train.jsonl", alpaca("ab", "cdefgh") + alpaca("a", "b")));
  EXPECT_THAT(dataset->measures().costs, ElementsAre(6, 4));
  EXPECT_THAT(tokens_of(dataset->read(0)).ids,
              ElementsAre(1, 3 + 'a', 3 + 'b', 3 + 'c', 3 + 'd', 3 + 'e'));
  EXPECT_EQ(dataset->stats().num_cut, 1);
}

TEST_F(PrepareDataset, SplitsADocumentInsteadOfCuttingIt) {
  request.max_seq_length = 4;
  request.format = "document";
  const auto dataset =
      prepare(folder.write("book.txt", "abcdefg"));  // 9 tokens; the last alone predicts nothing
  EXPECT_THAT(dataset->measures().costs, ElementsAre(4, 4));
  EXPECT_THAT(tokens_of(dataset->read(1)).ids, ElementsAre(3 + 'd', 3 + 'e', 3 + 'f', 3 + 'g'));
  EXPECT_EQ(dataset->stats().num_cut, 0);
}

TEST_F(PrepareDataset, NamesTheSampleThatCuttingLeavesNothingToLearnFrom) {
  request.max_seq_length = 4;
  const std::string path =
      folder.write("train.jsonl", alpaca("a", "b") + alpaca("long question", "b"));
  EXPECT_EQ(
      error_of(path),
      path +
          ":2: 16 tokens, no answer left within max_seq_length 4; raise it, shorten the record, "
          "or set data_errors: skip");
  EXPECT_FALSE(fs::exists(prepared_folder() + "/manifest.json"));
  request.skip_broken_records = true;
  const auto dataset = prepare(path);
  EXPECT_EQ(dataset->num_samples(), 1);
  EXPECT_EQ(dataset->stats().num_skipped, 1);
}

TEST_F(PrepareDataset, SaysSoWhenNoSampleHasAnAnswerLeft) {
  request.max_seq_length = 4;
  const std::string path =
      folder.write("train.jsonl", alpaca("long question", "b") + alpaca("another one", "b"));
  const std::string line =
      path + ": none of 2 samples has an answer within max_seq_length 4; raise it";
  EXPECT_EQ(error_of(path), line);
  request.skip_broken_records = true;
  EXPECT_EQ(error_of(path), line);
}

TEST_F(PrepareDataset, StopsAtABrokenRecordOrSkipsAndCountsIt) {
  const std::string path =
      folder.write("train.jsonl", alpaca("a", "b") + "{\"instruction\": 1}\n" + alpaca("c", "d"));
  EXPECT_THAT(error_of(path), HasSubstr("train.jsonl:2: "));
  request.skip_broken_records = true;
  const auto dataset = prepare(path);
  EXPECT_EQ(dataset->num_samples(), 2);
  EXPECT_EQ(dataset->stats().num_records, 3);
  EXPECT_EQ(dataset->stats().num_skipped, 1);
}

TEST_F(PrepareDataset, RefusesIdsBeyondTheVocabularyOfTheBase) {
  request.vocab_size = 101;
  const std::string path = folder.write("train.jsonl", alpaca("a", "~"));  // '~' is 126 + 3
  EXPECT_EQ(
      error_of(path),
      path +
          ":1: token 2 has id 129, the vocabulary has 101; use the tokenizer of this base model");
}

TEST_F(PrepareDataset, RefusesDataWithoutRecords) {
  const std::string path = folder.write("t.txt", "\n  \n");
  EXPECT_EQ(error_of(path), path + ": no records; fill it or take it away");
}

TEST_F(PrepareDataset, UsesAFinishedFolderAsItIs) {
  const std::string path = folder.write("train.jsonl", alpaca("a", "b"));
  const std::string fingerprint = prepare(path)->fingerprint();
  const std::string part = prepared_folder() + "/part-0000.h5";
  const auto written = fs::last_write_time(part);
  const auto again = prepare(path);
  EXPECT_EQ(again->fingerprint(), fingerprint);
  EXPECT_EQ(again->stats().num_records, 1);
  EXPECT_EQ(fs::last_write_time(part), written);
}

TEST_F(PrepareDataset, NoticesAPreparedPartThatChanged) {
  const std::string path = folder.write("train.jsonl", alpaca("a", "b"));
  prepare(path);
  const std::string part = prepared_folder() + "/part-0000.h5";
  std::string content = read_file(part);
  content.back() ^= 1;
  write_file_atomically(part, content);
  EXPECT_EQ(error_of(path),
            part + ": hash differs from manifest.json; delete " + prepared_folder());
}

TEST_F(PrepareDataset, MakesAnotherFolderForOtherContentOrLimits) {
  const std::string path = folder.write("train.jsonl", alpaca("a", "b"));
  const std::string first = prepare(path)->fingerprint();
  folder.write("train.jsonl", alpaca("a", "c"));
  const std::string second = prepare(path)->fingerprint();
  request.max_seq_length = 1024;
  const std::string third = prepare(path)->fingerprint();
  request.train_on_prompt = true;
  const std::string fourth = prepare(path)->fingerprint();
  EXPECT_EQ((std::set<std::string>{first, second, third, fourth}).size(), 4u);
}

TEST_F(PrepareDataset, KnowsWhatTheVersionBeforeMadeOfFormatsThatReadAlike) {
  // Fingerprints that were written before dialogues and calls of tools were read otherwise.
  const auto base = load_tokenizer(LORA_DIST_SOURCE_DIR "/examples/base-tiny");
  const auto chosen = make_template("auto", *base);
  request.vocab_size = 2048;
  request.prepared_dir = folder.file("prepared");
  request.path = folder.write("a.jsonl", alpaca("Say hi", "Hi there"));
  EXPECT_EQ(prepare_dataset(request, base.get(), chosen.get(), world)->fingerprint(),
            "e19da37b04f34dfcbe146f8e51aa5f375ca6bd4c0efe0daceac56c6169425317");
  request.path = folder.write("t.jsonl", R"({"input_ids": [4, 5, 6], "labels": [-100, 5, 6]})");
  EXPECT_EQ(prepare_dataset(request, nullptr, nullptr, world)->fingerprint(),
            "1d1fbad0f8961ba62e531ecec7dddda63c61f9adb96f8ce0cc5a4f234c1bfef1");
}

TEST_F(PrepareDataset, KnowsMovedDataAgain) {
  const std::string first =
      prepare(folder.write("here/train.jsonl", alpaca("a", "b")))->fingerprint();
  EXPECT_EQ(prepare(folder.write("there/renamed.jsonl", alpaca("a", "b")))->fingerprint(), first);
}

TEST_F(PrepareDataset, GoesOnWithThePartsThatAnInterruptedPreparationFinished) {
  std::string lines;
  for (int i = 0; i < 5000; ++i)
    lines += alpaca(std::to_string(i), "a");  // parts of 2048, 2048 and 904 records
  const std::string path = folder.write("train.jsonl", lines);
  prepare(path);
  const std::string prepared = prepared_folder();
  const auto hash_of_second = file_sha256(prepared + "/part-0001.h5");
  const auto written = fs::last_write_time(prepared + "/part-0000.h5");
  fs::remove(prepared + "/manifest.json");
  fs::remove(prepared + "/part-0001.h5");
  const auto dataset = prepare(path);
  EXPECT_EQ(fs::last_write_time(prepared + "/part-0000.h5"), written);
  EXPECT_EQ(file_sha256(prepared + "/part-0001.h5"), hash_of_second);
  ASSERT_EQ(dataset->num_samples(), 5000);
  for (const int64_t sample : {0, 2047, 2048, 4095, 4096, 4999})
    EXPECT_EQ(tokenizer.decode(tokens_of(dataset->read(sample)).ids, true),
              std::to_string(sample) + "a");
}

TEST_F(PrepareDataset, ReadsTheRecordsOfAllFilesInTheOrderOfTheirNames) {
  folder.write("data/b.jsonl", alpaca("2", "") + alpaca("3", ""));
  folder.write("data/a.jsonl", alpaca("0", "") + alpaca("1", ""));
  const auto dataset = prepare(folder.file("data"));
  for (int64_t sample = 0; sample < 4; ++sample)
    EXPECT_EQ(tokenizer.decode(tokens_of(dataset->read(sample)).ids, true), std::to_string(sample));
}

TEST_F(PrepareDataset, LosesOneRecordOfAListAndCountsWhatItSaysOfTheOthers) {
  std::string text = "[\n";
  for (int i = 0; i < 100; ++i)
    text += std::string(i == 0 ? "" : ",\n") + R"({"instruction": ")" + (i == 3 ? "a\"b" : "q") +
            R"(", "output": "a", "weight": 2})";
  const std::string path = folder.write("train.json", text + "\n]\n");
  request.skip_broken_records = true;
  const auto dataset = prepare(path);
  EXPECT_EQ(dataset->num_samples(), 99);
  EXPECT_EQ(dataset->stats().num_skipped, 1);
  const auto manifest = nlohmann::json::parse(read_file(prepared_folder() + "/manifest.json"));
  EXPECT_EQ(manifest.at("notes").at(0).at("records"), 99);
  EXPECT_EQ(manifest.at("notes").at(0).at("first"), path + ":2");
}

TEST_F(PrepareDataset, LearnsNothingOfATurnOfWeightZero) {
  const auto dataset = prepare(folder.write(
      "m.jsonl",
      R"({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "x", "weight": 0}, {"role": "user", "content": "v"}, {"role": "assistant", "content": "y"}]})"));
  EXPECT_THAT(tokens_of(dataset->read(0)).loss_mask, ElementsAre(0, 0, 0, 0, 0, 1, 1));
}

TEST_F(PrepareDataset, PutsFilesOfSeveralFormatsIntoOneDataSet) {
  folder.write("data/a.jsonl", alpaca("q", "a"));
  folder.write("data/b.txt", "hi\n");
  folder.write("data/c.jsonl", R"({"input_ids": [4, 5]})");
  const auto dataset = prepare(folder.file("data"));
  EXPECT_THAT(dataset->measures().costs, ElementsAre(4, 4, 2));
}

class UsersParts : public PrepareDataset {
 protected:
  std::string write_parts(TokenId largest, const PartAttributes& attributes = {}) {
    make_folders(folder.file("parts"));
    write_part(folder.file("parts/a.h5"), attributes, text_content({{{4, 5, 6, 7}, {0, 0, 1, 1}}}));
    write_part(folder.file("parts/b.h5"), attributes, text_content({{{8, largest}, {0, 1}}}));
    return folder.file("parts");
  }
};

TEST_F(UsersParts, AreReadWhereTheyLie) {
  const auto dataset = prepare(write_parts(9));
  ASSERT_EQ(dataset->num_samples(), 2);
  EXPECT_THAT(tokens_of(dataset->read(1)).ids, ElementsAre(8, 9));
  EXPECT_THAT(dataset->measures().loss_terms, ElementsAre(2, 1));
  EXPECT_FALSE(fs::exists(folder.file("prepared")));
}

TEST_F(UsersParts, AreCutToTheLengthOfThisRun) {
  request.max_seq_length = 3;
  const auto dataset = prepare(write_parts(9));
  EXPECT_THAT(dataset->measures().costs, ElementsAre(3, 2));
  EXPECT_THAT(dataset->measures().loss_terms, ElementsAre(1, 1));
  EXPECT_EQ(dataset->stats().num_cut, 1);
  request.max_seq_length = 2;
  EXPECT_THAT(error_of(folder.file("parts")),
              HasSubstr("a.h5: sample 0 of 4 tokens has no label within max_seq_length 2"));
  request.skip_broken_records = true;
  EXPECT_EQ(prepare(folder.file("parts"))->num_samples(), 1);
}

TEST_F(UsersParts, MustFitTheVocabularyAndTheTokenizer) {
  EXPECT_EQ(error_of(write_parts(40000)),
            folder.file("parts/b.h5") + ": /tokens[1] = 40000, the vocabulary has 259");
}

TEST_F(UsersParts, AreThoseOfTheSameTokenizerTemplateAndLength) {
  EXPECT_THAT(error_of(write_parts(9, {.origins = {{"tokenizer_sha256", "another"}}})),
              HasSubstr("a.h5: made with another tokenizer"));
  EXPECT_THAT(error_of(write_parts(9, {.origins = {{"template_sha256", "another"}}})),
              HasSubstr("a.h5: made with another template"));
  EXPECT_THAT(error_of(write_parts(9, {.max_seq_length = 7})),
              HasSubstr("a.h5: made with max_seq_length 7"));
  EXPECT_EQ(error_of(write_parts(9, {.origins = {{"tokenizer_sha256", tokenizer.sha256()},
                                                 {"template_sha256", prompt_template.sha256()}},
                                     .max_seq_length = request.max_seq_length})),
            "no error");
}

TEST_F(PrepareDataset, AFolderUnderTheNameOfOtherDataIsRefused) {
  folder.write("data/a.jsonl", alpaca("0", "") + alpaca("1", ""));
  prepare(folder.file("data"));
  const std::string first = prepared_folder();
  request.max_seq_length = 64;
  prepare(folder.file("data"));
  std::string second;
  for (const auto& entry : fs::directory_iterator(folder.file("prepared")))
    if (entry.path().string() != first) second = entry.path().string();
  fs::remove_all(second);
  fs::rename(first, second);
  EXPECT_THAT(error_of(folder.file("data")),
              testing::AllOf(HasSubstr("manifest.json: prepared with max_seq_length "),
                             HasSubstr(", this run has 64")));
}

TEST(SplitDataset, DrawsTheSameDisjointPartsEveryTime) {
  TempFolder folder;
  std::string lines;
  for (int i = 0; i < 41; ++i) lines += "text " + std::to_string(i) + "\n";
  ByteTokenizer tokenizer;
  ByteTemplate prompt_template;
  OneRankWorld world;
  const auto dataset = prepare_dataset(
      {.path = folder.write("t.txt", lines), .prepared_dir = folder.file("p"), .vocab_size = 259},
      &tokenizer, &prompt_template, world);
  const Split split = split_dataset(*dataset, 0.1, 42);
  EXPECT_EQ(split.validation.size(), 5u) << "4.1 rounded up";
  std::set<int64_t> all(split.train.begin(), split.train.end());
  all.insert(split.validation.begin(), split.validation.end());
  EXPECT_EQ(all.size(), 41u);
  EXPECT_EQ(split.train.size(), 36u);
  EXPECT_TRUE(std::is_sorted(split.train.begin(), split.train.end()));
  EXPECT_EQ(split_dataset(*dataset, 0.1, 42).validation, split.validation);
  EXPECT_NE(split_dataset(*dataset, 0.1, 43).validation, split.validation);
  EXPECT_EQ(split_dataset(*dataset, 7, 42).validation.size(), 7u);
  EXPECT_TRUE(split_dataset(*dataset, 0, 42).validation.empty());
  EXPECT_THROW(split_dataset(*dataset, 41, 42), ConfigError);
}

}  // namespace
}  // namespace lora_dist
