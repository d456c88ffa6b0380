// Prompt templates on a tokenizer of single characters, where every id can be read. Real families:
// golden/templates_test.
#include "data/templates/template.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/io/files.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Printable ASCII and newline, one token each (id = character), "ab" (128) and "\nb" (129) merged,
/// <s> 1 before a text, </s> 2 behind it.
class LetterTemplates : public testing::Test {
 protected:
  LetterTemplates() {
    nlohmann::json file = nlohmann::json::parse(R"({
      "added_tokens": [{"id": 1, "content": "<s>", "normalized": false}, {"id": 2, "content": "</s>", "normalized": false}],
      "post_processor": {"type": "TemplateProcessing",
                         "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
                         "special_tokens": {"<s>": {"ids": [1]}, "</s>": {"ids": [2]}}},
      "model": {"type": "BPE", "vocab": {"\n": 10, "ab": 128, "\nb": 129}, "merges": ["a b", "\n b"]}})");
    for (char c = ' '; c <= '~'; ++c)
      file["model"]["vocab"][std::string(1, c)] = static_cast<int>(c);
    folder_.write("tokenizer.json", file.dump());
    folder_.write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>"})");
    tokenizer_ = load_tokenizer(folder_.path());
  }

  Tokens train(const std::string& name, const std::vector<Message>& messages,
               bool train_on_prompt = false) {
    return make_template(name, *tokenizer_)
        ->encode_training(messages, *tokenizer_, train_on_prompt);
  }
  std::string error(const std::string& name, const std::vector<Message>& messages) {
    try {
      train(name, messages);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }

  TempFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(LetterTemplates, PlainLearnsTheNewlineTheAnswerAndOneEos) {
  const Tokens tokens = train("plain", {{"user", "x"}, {"assistant", "y"}});
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'x', '\n', 'y', 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 0, 1, 1, 1));
}

TEST_F(LetterTemplates, PlainPutsEosBehindEveryAnswer) {
  const Tokens tokens = train(
      "plain",
      {{"system", "s"}, {"user", "x", "i"}, {"assistant", "y"}, {"user", "z"}, {"assistant", ""}});
  EXPECT_THAT(tokens.ids,
              ElementsAre(1, 's', '\n', 'x', '\n', 'i', '\n', 'y', 2, '\n', 'z', '\n', 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1));
}

TEST_F(LetterTemplates, TheTokenOnTheBorderOfAnAnswerIsLearnt) {
  const Tokens tokens = train(
      "alpaca", {{"user", "x"}, {"assistant", "by"}});  // "...Response:\n" + "by" meet in "\nb"
  EXPECT_THAT(std::vector<TokenId>(tokens.ids.end() - 4, tokens.ids.end()),
              ElementsAre(':', 129, 'y', 2));
  EXPECT_THAT(std::vector<uint8_t>(tokens.loss_mask.end() - 4, tokens.loss_mask.end()),
              ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(std::count(tokens.loss_mask.begin(), tokens.loss_mask.end(), 1), 3);
}

TEST_F(LetterTemplates, TextIsLearntButForBos) {
  const Tokens tokens = encode_text("cab", *tokenizer_);
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'c', 128, 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 1, 1, 1));
}

TEST_F(LetterTemplates, ATextThatHoldsItsBosAndEosIsNotGivenThemTwice) {
  const Tokens tokens = encode_text("<s>cab</s>", *tokenizer_);
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'c', 128, 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(encode_text("x</s>\n", *tokenizer_).ids, ElementsAre(1, 'x', 2, '\n'));
  EXPECT_THAT(encode_raw_prompt("<s>x", *tokenizer_), ElementsAre(1, 'x'));
}

TEST_F(LetterTemplates, ABosInsideATextIsNotLearnt) {
  const Tokens tokens = encode_text("x</s><s>y", *tokenizer_);
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'x', 2, 1, 'y', 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 1, 1, 0, 1, 1));
}

TEST_F(LetterTemplates, AnEndTokenTypedBehindAnAnswerIsNotDoubled) {
  const Tokens tokens = train("plain", {{"user", "<s>x"}, {"assistant", "y</s>"}});
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'x', '\n', 'y', 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 0, 1, 1, 1));
}

TEST_F(LetterTemplates, AHeaderTypedBeforeAnAnswerIsNotDoubled) {
  for (const char* name : {"chatml", "llama3", "gemma", "phi3", "alpaca"}) {
    const Tokens expected = train(name, {{"user", "x"}, {"assistant", "y"}});
    const std::map<std::string, std::string> headers = {
        {"chatml", "<|im_start|>assistant\n"},
        {"llama3", "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"gemma", " <start_of_turn>model\n"},
        {"phi3", "<|assistant|>\n"},
        {"alpaca", "### Response:\n"}};
    const Tokens tokens = train(name, {{"user", "x"}, {"assistant", headers.at(name) + "y"}});
    EXPECT_EQ(tokens.ids, expected.ids) << name;
    EXPECT_EQ(tokens.loss_mask, expected.loss_mask) << name;
  }
  const Tokens word = train("chatml", {{"user", "x"}, {"assistant", "assistant\ny"}});
  EXPECT_GT(word.ids.size(), train("chatml", {{"user", "x"}, {"assistant", "y"}}).ids.size());
}

TEST_F(LetterTemplates, AnEndTokenOfAnotherKindTypedBehindAnAnswerIsNotDoubledEither) {
  nlohmann::json file = nlohmann::json::parse(read_file(folder_.file("tokenizer.json")));
  file["added_tokens"].push_back({{"id", 3}, {"content", "<|eot|>"}, {"normalized", false}});
  folder_.write("tokenizer.json", file.dump());
  folder_.write("generation_config.json", R"({"eos_token_id": [2, 3]})");
  tokenizer_ = load_tokenizer(folder_.path());
  for (const char* answer : {"y<|eot|>", "y</s>", "y<|eot|></s>", "y</s>\n<|eot|> "}) {
    const Tokens tokens = train("plain", {{"user", "x"}, {"assistant", answer}});
    EXPECT_THAT(tokens.ids, ElementsAre(1, 'x', '\n', 'y', 2)) << answer;
  }
  EXPECT_THAT(train("plain", {{"user", "x"}, {"assistant", "a<|eot|>b"}}).ids,
              ElementsAre(1, 'x', '\n', 'a', 3, 'b', 2))
      << "inside an answer it stays";
}

TEST_F(LetterTemplates, ABosTypedBehindABlankIsNotDoubled) {
  for (const char* text : {" <s>x", "\n \n<s>x", "<s> <s>x"})
    EXPECT_THAT(encode_text(text, *tokenizer_).ids, ElementsAre(1, 'x', 2)) << text;
  EXPECT_THAT(encode_text(" x", *tokenizer_).ids, ElementsAre(1, ' ', 'x', 2));
  EXPECT_THAT(train("plain", {{"user", " <s>x"}, {"assistant", "y"}}).ids,
              ElementsAre(1, 'x', '\n', 'y', 2));
}

TEST_F(LetterTemplates, ASpecialTokenTypedInATurnIsEncodedAndToldByName) {
  testing::internal::CaptureStderr();
  const Tokens tokens = train("plain", {{"user", "a</s>b[c]"}, {"assistant", "y"}});
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'a', 2, 'b', '[', 'c', ']', '\n', 'y', 2));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("turns hold '</s>', which is a special token"));
}

TEST_F(LetterTemplates, GenerationConfigDecidesWhichTokenEndsAText) {
  folder_.write("generation_config.json", R"({"eos_token_id": [128, 129]})");
  EXPECT_THAT(encode_text("x", *load_tokenizer(folder_.path())).ids, ElementsAre(1, 'x', 128));
  folder_.write("generation_config.json", R"({"eos_token_id": [128, 2]})");
  EXPECT_THAT(encode_text("x", *load_tokenizer(folder_.path())).ids, ElementsAre(1, 'x', 2));
}

TEST_F(LetterTemplates, StopIdsAreEosAndTheEndOfTurnThatExists) {
  EXPECT_THAT(make_template("alpaca", *tokenizer_)->stop_ids(*tokenizer_), ElementsAre(2));
  EXPECT_THAT(make_template("chatml", *tokenizer_)->stop_ids(*tokenizer_),
              ElementsAre(2));  // no <|im_end|> here
}

TEST_F(LetterTemplates, AutoIsAlpacaWithoutAChatTemplate) {
  EXPECT_EQ(make_template("auto", *tokenizer_)->name(), "alpaca");
}

TEST_F(LetterTemplates, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  try {
    make_template("chatlm", *tokenizer_);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "template: unknown template 'chatlm'; did you mean 'chatml'? known: auto, alpaca, "
                 "chat_template, chatml, gemma, llama2, "
                 "llama3, phi3, plain");
  }
}

TEST_F(LetterTemplates, TurnsOutOfOrderAreNamed) {
  EXPECT_EQ(error("alpaca", {{"assistant", "y"}}),
            "messages[0]: a turn of 'assistant', expected a turn of 'user'");
  EXPECT_EQ(error("llama2", {{"user", "x"}, {"user", "x"}}),
            "messages[1]: a turn of 'user', expected a turn of 'assistant'");
  EXPECT_EQ(error("plain", {{"user", "x"}}),
            "messages[1]: the conversation ends, expected a turn of 'assistant'");
  EXPECT_THAT(error("gemma", {}), HasSubstr("the conversation ends"));
}

TEST_F(LetterTemplates, NoTemplateLearnsATurnThatIsContextOnly) {
  for (const char* name : {"alpaca", "chatml", "gemma", "llama2", "llama3", "phi3", "plain"}) {
    for (const bool train_on_prompt : {false, true}) {
      const Tokens tokens = train(name,
                                  {{"user", "u"},
                                   {.role = "assistant", .content = "QQQ", .learn = false},
                                   {"user", "v"},
                                   {"assistant", "ZZZ"}},
                                  train_on_prompt);
      for (size_t i = 0; i < tokens.ids.size(); ++i) {
        if (tokens.ids[i] == 'Q') {
          EXPECT_EQ(tokens.loss_mask[i], 0) << name;
        }
        if (tokens.ids[i] == 'Z') {
          EXPECT_EQ(tokens.loss_mask[i], 1) << name;
        }
      }
    }
  }
}

TEST_F(LetterTemplates, TheEosOfATurnThatIsContextOnlyIsNotLearntEither) {
  const Tokens tokens = train("plain", {{"user", "x"},
                                        {.role = "assistant", .content = "y", .learn = false},
                                        {"user", "z"},
                                        {"assistant", "w"}});
  EXPECT_THAT(tokens.ids, ElementsAre(1, 'x', '\n', 'y', 2, '\n', 'z', '\n', 'w', 2));
  EXPECT_THAT(tokens.loss_mask, ElementsAre(0, 0, 0, 0, 0, 0, 0, 1, 1, 1));
}

TEST_F(LetterTemplates, EveryTemplateHasItsOwnFingerprint) {
  std::vector<std::string> seen;
  for (const char* name : {"alpaca", "chatml", "gemma", "llama2", "llama3", "phi3", "plain"}) {
    const std::string fingerprint = make_template(name, *tokenizer_)->sha256();
    EXPECT_EQ(fingerprint.size(), 64u);
    EXPECT_THAT(seen, testing::Not(testing::Contains(fingerprint))) << name;
    seen.push_back(fingerprint);
  }
}

}  // namespace
}  // namespace lora_dist
