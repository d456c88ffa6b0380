// Do our tokenizers give the ids and texts of Hugging Face's? One folder per family, written by
// make_tokenizers.py; every folder is walked, so a new family needs no line here.
#include <algorithm>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "data/io/files.hpp"
#include "data/tokenizers/tokenizer.hpp"

namespace lora_dist {
namespace {

namespace fs = std::filesystem;

const std::string kFolder = LORA_DIST_SOURCE_DIR "/tests/golden/tokenizers/";

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> texts() {
  return nlohmann::json::parse(read_file(kFolder + "texts.json")).get<std::vector<std::string>>();
}

class EveryTokenizer : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(kFolder + GetParam());
  nlohmann::json cases_ =
      nlohmann::json::parse(read_file(kFolder + GetParam() + "/cases.json"))["cases"];
  std::vector<std::string> texts_ = texts();
};

TEST_P(EveryTokenizer, EncodesAsHuggingFaceDoes) {
  ASSERT_EQ(texts_.size(), cases_.size());
  ASSERT_GT(texts_.size(), 300u);
  for (size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(tokenizer_->encode(texts_[i], /*add_special_tokens=*/false),
              cases_[i]["ids"].get<std::vector<TokenId>>())
        << nlohmann::json(texts_[i]);
    EXPECT_EQ(tokenizer_->encode(texts_[i], /*add_special_tokens=*/true),
              cases_[i]["special"].get<std::vector<TokenId>>())
        << nlohmann::json(texts_[i]);
  }
}

TEST_P(EveryTokenizer, DecodesAsHuggingFaceDoes) {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto ids = cases_[i]["ids"].get<std::vector<TokenId>>();
    const std::string text =
        cases_[i].value("text", texts_[i]);  // left out where the text comes back unchanged
    EXPECT_EQ(tokenizer_->decode(ids, /*skip_special_tokens=*/false), text)
        << nlohmann::json(texts_[i]);
    EXPECT_EQ(tokenizer_->decode(ids, /*skip_special_tokens=*/true),
              cases_[i].value("skipped", text))
        << nlohmann::json(texts_[i]);
  }
}

TEST_P(EveryTokenizer, NamesEachTokenByItsPiece) {
  for (const auto& entry : cases_)
    for (const TokenId id : entry["ids"].get<std::vector<TokenId>>()) {
      ASSERT_LT(id, tokenizer_->vocab_size());
      EXPECT_EQ(tokenizer_->id_of(tokenizer_->piece(id)), id);
    }
}

TEST_P(EveryTokenizer, GivesEveryThreadTheSameIds) {
  const std::unique_ptr<Tokenizer> fresh =
      load_tokenizer(kFolder + GetParam());  // nothing cached yet
  std::vector<size_t> num_wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < num_wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts_.size(); ++i) {
        const size_t turned = (i + t * 80) % texts_.size();
        num_wrong[t] += fresh->encode(texts_[turned], false) !=
                        cases_[turned].at("ids").get<std::vector<TokenId>>();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_wrong, std::vector<size_t>(4, 0));
}

INSTANTIATE_TEST_SUITE_P(Families, EveryTokenizer, testing::ValuesIn(families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lora_dist
