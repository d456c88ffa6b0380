// Do our prompt templates give the ids of transformers' apply_chat_template, and learn the answers
// only? Cases are written by make_templates.py; their masks come from character offsets, ours from
// comparing prefixes.
#include <gtest/gtest.h>

#include "data/files.hpp"
#include "data/templates/template.hpp"

namespace lora_dist {
namespace {

nlohmann::json golden() {
  return nlohmann::json::parse(read_file(LORA_DIST_SOURCE_DIR "/tests/golden/templates.json"));
}

std::unique_ptr<Tokenizer> tokenizer_named(const std::string& name) {
  return load_tokenizer(LORA_DIST_SOURCE_DIR "/tests/golden/tokenizers/" + name);
}

std::vector<Message> messages_of(const nlohmann::json& entry) {
  std::vector<Message> messages;
  for (const auto& message : entry["messages"])
    messages.push_back({message["role"], message["content"], message.value("input", "")});
  return messages;
}

TEST(Templates, GiveTheIdsAndAnswersOfTheFamiliesOwnTemplates) {
  const nlohmann::json file = golden();
  ASSERT_GT(file["cases"].size(), 40u);
  for (const auto& entry : file["cases"]) {
    SCOPED_TRACE(entry["template"].get<std::string>() + " on " +
                 entry["tokenizer"].get<std::string>() + ": " + entry["text"].dump());
    const auto tokenizer = tokenizer_named(entry["tokenizer"]);
    const Tokens tokens = make_template(entry["template"], *tokenizer)
                              ->encode_training(messages_of(entry), *tokenizer, false);
    EXPECT_EQ(tokens.ids, entry["ids"].get<std::vector<TokenId>>());
    EXPECT_EQ(tokens.loss_mask, entry["loss_mask"].get<std::vector<uint8_t>>());
  }
}

TEST(Templates, EndAPromptWithTheHeaderOfTheAnswer) {
  for (const auto& entry : golden()["cases"]) {
    SCOPED_TRACE(entry["template"].get<std::string>() + " on " +
                 entry["tokenizer"].get<std::string>() + ": " + entry["text"].dump());
    const auto tokenizer = tokenizer_named(entry["tokenizer"]);
    std::vector<Message> messages = messages_of(entry);
    messages.pop_back();
    EXPECT_EQ(make_template(entry["template"], *tokenizer)->encode_prompt(messages, *tokenizer),
              entry["prompt_ids"].get<std::vector<TokenId>>());
  }
}

TEST(Templates, LearnAllButTheFirstBosWithTrainOnPrompt) {
  const auto tokenizer = tokenizer_named("llama3");
  const std::vector<Message> messages = {{"user", "Hi"}, {"assistant", "Hello!"}};
  for (const char* name : {"llama3", "alpaca", "plain"}) {
    const Tokens tokens = make_template(name, *tokenizer)
                              ->encode_training(messages, *tokenizer, /*train_on_prompt=*/true);
    ASSERT_EQ(tokens.ids.front(), tokenizer->bos_id()) << name;
    std::vector<uint8_t> expected(tokens.ids.size(), 1);
    expected.front() = 0;
    EXPECT_EQ(tokens.loss_mask, expected) << name;
  }
}

TEST(Templates, AreRecognisedByTheModelsOwnChatTemplate) {
  const nlohmann::json chat_templates = golden()["chat_templates"];
  ASSERT_EQ(chat_templates.size(), 5u);
  for (const auto& [name, text] : chat_templates.items()) {
    struct WithTemplate : Tokenizer {
      std::unique_ptr<Tokenizer> base = tokenizer_named("llama2");
      std::string chat;
      std::vector<TokenId> encode(std::string_view t, bool special) const override {
        return base->encode(t, special);
      }
      std::string decode(const std::vector<TokenId>& ids, bool skip) const override {
        return base->decode(ids, skip);
      }
      std::string piece(TokenId id) const override { return base->piece(id); }
      int64_t vocab_size() const override { return base->vocab_size(); }
      TokenId bos_id() const override { return base->bos_id(); }
      TokenId eos_id() const override { return base->eos_id(); }
      TokenId pad_id() const override { return base->pad_id(); }
      TokenId id_of(std::string_view p) const override { return base->id_of(p); }
      const std::string& chat_template() const override { return chat; }
      const std::string& sha256() const override { return base->sha256(); }
    } tokenizer;
    tokenizer.chat = text;
    EXPECT_EQ(make_template("auto", tokenizer)->name(), name);
  }
}

}  // namespace
}  // namespace lora_dist
