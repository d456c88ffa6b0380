// What the tokenizer loader refuses, and what it finds beside tokenizer.json. Ids of real
// pipelines: golden/tokenizers_test.
#include "data/tokenizers/tokenizer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

/// A tokenizer.json for letters a, b and c with one merge; `change` is patched over it.
std::string file_with(const std::string& change = "{}") {
  nlohmann::json file = nlohmann::json::parse(R"({
    "version": "1.0", "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": [["a", "b"]]}})");
  file.merge_patch(nlohmann::json::parse(change));
  return file.dump();
}

std::string loading_error(const TempFolder& folder) {
  try {
    load_tokenizer(folder.path());
  } catch (const ModelError& error) {
    return error.what();
  }
  return "no error";
}

std::string loading_error(const std::string& content) {
  const TempFolder folder;
  const std::string path = folder.write("tokenizer.json", content);
  const std::string message = loading_error(folder);
  return message.starts_with(path) ? message.substr(path.size()) : message;
}

TEST(LoadTokenizer, MergesAndReadsSpecialTokensInTheText) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->encode("cab<s>b", false), ElementsAre(2, 3, 4, 1));
  EXPECT_EQ(tokenizer->decode({2, 3, 4, 1}, /*skip_special_tokens=*/true), "cabb");
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  EXPECT_EQ(tokenizer->piece(3), "ab");
  EXPECT_EQ(tokenizer->id_of("d"), -1);
  EXPECT_EQ(tokenizer->eos_id(), -1);
}

TEST(LoadTokenizer, TakesBytesThatAreNotUtf8AsReplacementCharacters) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with(R"({"model": {"vocab": {"\ufffd": 5}}})"));
  EXPECT_THAT(load_tokenizer(folder.path())->encode("a\xE4\xB8z\xFF", false), ElementsAre(0, 5, 5));
}

TEST(LoadTokenizer, SaysWhatToDoWhenTheFileIsMissing) {
  const TempFolder folder;
  EXPECT_EQ(loading_error(folder),
            folder.file("tokenizer.json") +
                ": no such file; copy the tokenizer files of the base model into its folder");
  folder.write("tokenizer.model", "");
  EXPECT_THAT(loading_error(folder), HasSubstr("save_pretrained"));
}

TEST(LoadTokenizer, NamesTheByteWhereTheJsonBreaks) {
  const std::string whole = file_with();
  EXPECT_THAT(loading_error(whole.substr(0, 40)), StartsWith(": byte 40: the JSON breaks off"));
  EXPECT_THAT(loading_error("{\"model\": {]"), StartsWith(": byte 11: the JSON breaks off"));
}

TEST(LoadTokenizer, NamesAComponentThatIsNotKnownAndThoseThatAre) {
  EXPECT_EQ(loading_error(file_with(R"({"normalizer": {"type": "Precompiled"}})")),
            ": normalizer 'Precompiled' is not supported; known: Sequence, NFC, NFD, NFKC, NFKD, "
            "Prepend, Replace, Lowercase, Strip");
  EXPECT_THAT(
      loading_error(file_with(
          R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]}})")),
      StartsWith(": pre_tokenizer 'BertPreTokenizer' is not supported; known: "));
  EXPECT_THAT(loading_error(file_with(R"({"post_processor": {"type": "BertProcessing"}})")),
              StartsWith(": post_processor 'BertProcessing' is not supported; known: "));
  EXPECT_THAT(loading_error(file_with(R"({"decoder": {"type": "CTC"}})")),
              StartsWith(": decoder 'CTC' is not supported; known: "));
  EXPECT_EQ(loading_error(file_with(R"({"model": {"type": "Unigram"}})")),
            ": model 'Unigram' is not supported; known: BPE");
}

TEST(LoadTokenizer, NamesThePlaceOfAMemberThatIsMissingOrOfAnotherType) {
  EXPECT_EQ(
      loading_error(file_with(
          R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend"}]}})")),
      ": normalizer.normalizers[1]: 'prepend' is missing");
  EXPECT_EQ(loading_error(file_with(R"({"normalizer": {"type": "Prepend", "prepend": 3}})")),
            ": normalizer.prepend: number, expected a string");
  EXPECT_EQ(loading_error(file_with(R"({"model": {"vocab": {"d": "4"}}})")),
            ": the vocabulary's 'd' has no token id, expected a whole number from 0");
}

TEST(LoadTokenizer, RefusesAVocabularyThatContradictsItself) {
  EXPECT_EQ(loading_error(file_with(R"({"model": {"vocab": {"d": 1}}})")),
            ": id 1 belongs to 'b' and 'd'");
  EXPECT_EQ(loading_error(file_with(R"({"added_tokens": [{"id": 1, "content": "<s>"}]})")),
            ": id 1 belongs to 'b' and '<s>'");
  EXPECT_EQ(loading_error(file_with(R"({"model": {"merges": [["a", "b"], ["c", "zz"]]}})")),
            ": merge 2 'c' 'zz': 'zz' is not in the vocabulary");
  EXPECT_EQ(loading_error(file_with(R"({"model": {"merges": ["a b", "a b c"]}})")),
            ": merge 2 is of another form, expected \"a b\" or [\"a\", \"b\"]");
}

TEST(LoadTokenizer, RefusesAPatternThatCouldRunForEver) {
  EXPECT_EQ(
      loading_error(file_with(
          R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": false}})")),
      ": pattern 1 exceeds the match limit on its test text; not a known tokenizer");
  EXPECT_THAT(
      loading_error(file_with(
          R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false}})")),
      StartsWith(": '(a' is not a regular expression ("));
}

TEST(LoadTokenizer, FindsSpecialTokensInTheFirstFileThatNamesThem) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  folder.write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "pad_token": null})");
  folder.write("special_tokens_map.json", R"({"eos_token": "c", "pad_token": "a"})");
  folder.write("config.json", R"({"bos_token_id": 0, "eos_token_id": [1, 2]})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->bos_id(), 4);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->pad_id(), -1);
}

TEST(LoadTokenizer, FallsBackToTheIdsOfTheModelsConfig) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  folder.write("config.json", R"({"bos_token_id": 0, "eos_token_id": [1, 2]})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 1);
}

TEST(LoadTokenizer, RefusesAnEosThatIsNoToken) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  const std::string path = folder.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  EXPECT_EQ(
      loading_error(folder),
      path + ": eos_token '</s>' is not in the vocabulary, expected a token of tokenizer.json");
}

TEST(LoadTokenizer, TakesAddedTokensOfTheConfigToo) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  folder.write(
      "tokenizer_config.json",
      R"({"added_tokens_decoder": {"4": {"content": "<s>", "rstrip": true, "normalized": false},
                                                                    "9": {"content": "<x>", "normalized": false}}})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_THAT(tokenizer->encode("<s>  a<x>", false), ElementsAre(4, 0, 9));
  EXPECT_EQ(tokenizer->vocab_size(), 10);
}

TEST(LoadTokenizer, PrefersTheJinjaFileAndTheDefaultOfAList) {
  const TempFolder folder;
  folder.write("tokenizer.json", file_with());
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]})");
  const auto listed = load_tokenizer(folder.path());
  EXPECT_EQ(listed->chat_template(), "D");
  folder.write("chat_template.jinja", "J");
  const auto with_jinja = load_tokenizer(folder.path());
  EXPECT_EQ(with_jinja->chat_template(), "J");
  EXPECT_NE(listed->sha256(), with_jinja->sha256());
}

}  // namespace
}  // namespace lora_dist
