// Do our prompt templates give the ids of transformers' apply_chat_template, and learn the answers
// only? Cases are written by make_templates.py; their masks come from character offsets, ours from
// comparing prefixes.
#include <set>

#include <gtest/gtest.h>

#include "data/io/files.hpp"
#include "data/templates/template.hpp"
#include "tests/support/chat_tokenizer.hpp"

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

bool has_layout(const std::string& name) {
  return std::set<std::string>{"alpaca", "chatml", "gemma", "llama2", "llama3", "phi3", "plain"}
      .contains(name);
}

TEST(Templates, GiveTheIdsAndAnswersOfTheFamiliesOwnTemplates) {
  const nlohmann::json file = golden();
  ASSERT_GT(file["cases"].size(), 40u);
  for (const auto& entry : file["cases"]) {
    if (!has_layout(entry["template"])) continue;
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
    if (!has_layout(entry["template"])) continue;
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

TEST(Templates, AChatTemplateIsExecutedWhateverItsForm) {
  const nlohmann::json file = golden();
  int num_executed = 0;
  for (const auto& entry : file["cases"]) {
    const std::string name = entry["template"];
    if (!file["chat_templates"].contains(name)) continue;
    SCOPED_TRACE(name + " on " + entry["tokenizer"].get<std::string>() + ": " +
                 entry["text"].dump());
    const ChatTokenizer tokenizer(tokenizer_named(entry["tokenizer"]),
                                  file["chat_templates"][name]);
    const auto prompt_template = make_template("auto", tokenizer);
    EXPECT_EQ(prompt_template->name(), "chat_template");
    std::vector<Message> messages = messages_of(entry);
    const Tokens tokens = prompt_template->encode_training(messages, tokenizer, false);
    EXPECT_EQ(tokens.ids, entry["ids"].get<std::vector<TokenId>>());
    EXPECT_EQ(tokens.loss_mask, entry["loss_mask"].get<std::vector<uint8_t>>());
    messages.pop_back();
    EXPECT_EQ(prompt_template->encode_prompt(messages, tokenizer),
              entry["prompt_ids"].get<std::vector<TokenId>>());
    ++num_executed;
  }
  EXPECT_GT(num_executed, 80);
}

}  // namespace
}  // namespace lora_dist
