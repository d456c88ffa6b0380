// Chat templates executed: what is learnt, what is refused and what is said.
#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error.hpp"
#include "data/templates/template.hpp"
#include "tests/support/chat_tokenizer.hpp"
#include "tests/support/temp_folder.hpp"

namespace lora_dist {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Letters are their own ids; <s> 1, </s> 2 and the marks U 3, A 4, E 5 are special.
class ChatTemplates : public testing::Test {
 protected:
  ChatTemplates() {
    nlohmann::json file = {{"added_tokens", nlohmann::json::array()},
                           {"model", {{"type", "BPE"}, {"merges", nlohmann::json::array()}}}};
    const std::vector<std::string> special = {"<s>", "</s>", "<U>", "<A>", "<E>"};
    for (size_t i = 0; i < special.size(); ++i)
      file["added_tokens"].push_back(
          {{"id", i + 1}, {"content", special[i]}, {"normalized", false}, {"special", true}});
    file["model"]["vocab"]["\n"] = 10;
    for (char c = ' '; c <= '~'; ++c)
      file["model"]["vocab"][std::string(1, c)] = static_cast<int>(c);
    folder_.write("tokenizer.json", file.dump());
    folder_.write("tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>"})");
  }

  ChatTokenizer with(const std::string& chat) { return {load_tokenizer(folder_.path()), chat}; }
  /// A letter per token (<s> s, </s> e, <U> u, <A> a, <E> E), a dot behind each that is learnt.
  std::string shown(const Tokens& tokens) {
    const std::string names = "?seuaE";
    std::string text;
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      text += tokens.ids[i] < 6 ? names[tokens.ids[i]] : static_cast<char>(tokens.ids[i]);
      if (tokens.loss_mask[i]) text += '.';
    }
    return text;
  }
  std::string trained(const std::string& chat, const std::vector<Message>& messages,
                      bool train_on_prompt = false) {
    const ChatTokenizer tokenizer = with(chat);
    return shown(
        make_template("auto", tokenizer)->encode_training(messages, tokenizer, train_on_prompt));
  }

  TempFolder folder_;
};

const std::string kTurns =
    "{{ bos_token }}{% for m in messages %}{{ '<U>' if m.role == 'user' else '<A>' }}"
    "{{ m.content | trim }}<E>\n{% endfor %}{% if add_generation_prompt %}<A>{% endif %}";

/// Learnt ids as text, special tokens left out.
std::string learnt_letters(const Tokens& tokens) {
  std::string text;
  for (size_t i = 0; i < tokens.ids.size(); ++i)
    if (tokens.loss_mask[i] && tokens.ids[i] > 9) text += static_cast<char>(tokens.ids[i]);
  return text;
}

TEST_F(ChatTemplates, EveryTemplateLearnsTheAnswerBehindItsPrompt) {
  const ChatTokenizer tokenizer = with(kTurns);
  std::set<std::string> fingerprints;
  for (const std::string_view name : prompt_templates().names()) {
    SCOPED_TRACE(name);
    const auto layout = make_template(std::string(name), tokenizer);
    const std::vector<TokenId> prompt = layout->encode_prompt({{"user", "Q!"}}, tokenizer);
    const Tokens tokens =
        layout->encode_training({{"user", "Q!"}, {"assistant", "Z+9"}}, tokenizer, false);
    ASSERT_GT(tokens.ids.size(), prompt.size());
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), tokens.ids.begin()));
    const std::string learnt = learnt_letters(tokens);
    EXPECT_THAT(learnt, HasSubstr("Z+9"));
    EXPECT_THAT(learnt, testing::Not(HasSubstr("Q!")));
    EXPECT_FALSE(layout->stop_ids(tokenizer).empty());
    if (name == "auto") continue;  // it is one of the others
    EXPECT_EQ(layout->name(), name);
    EXPECT_TRUE(fingerprints.insert(layout->sha256()).second) << "another template's fingerprint";
  }
}

TEST_F(ChatTemplates, AnswersAndTheirEndTokenAreLearnt) {
  EXPECT_EQ(
      trained(kTurns, {{"user", "q"}, {"assistant", " r "}, {"user", "t"}, {"assistant", "v"}}),
      "suqE\nar.E.\nutE\nav.E.\n");
  EXPECT_EQ(trained(kTurns, {{"user", "q"}, {"assistant", "r"}}, /*train_on_prompt=*/true),
            "su.q.E.\n.a.r.E.\n.");
}

TEST_F(ChatTemplates, AnAnswerLikeItsQuestionIsFoundInItsPlace) {
  EXPECT_EQ(trained(kTurns, {{"user", "a"}, {"assistant", "a"}, {"user", "a"}, {"assistant", ""}}),
            "suaE\naa.E.\nuaE\naE.\n");
}

TEST_F(ChatTemplates, AnAnswerThatIsContextOnlyIsNotLearnt) {
  EXPECT_EQ(trained(kTurns, {{"user", "q"},
                             {.role = "assistant", .content = "r", .learn = false},
                             {"user", "t"},
                             {"assistant", "v"}}),
            "suqE\narE\nutE\nav.E.\n");
}

TEST_F(ChatTemplates, AnEndTokenTypedBehindAnAnswerIsNotDoubled) {
  EXPECT_EQ(trained(kTurns, {{"user", "<s>q"}, {"assistant", "r<E>\n"}}), "suqE\nar.E.\n");
}

TEST_F(ChatTemplates, AHeaderTypedBeforeAnAnswerIsNotDoubled) {
  EXPECT_EQ(trained(kTurns, {{"user", "q"}, {"assistant", "<A>r</s><E>"}}), "suqE\nar.E.\n");
}

const std::string kWithTools =
    "{% if tools %}[{{ tools | tojson }}]{% endif %}{% if documents %}({{ documents[0].t }}){% "
    "endif "
    "%}{% for m in messages %}{% if m.role == 'tool' %}T{{ m.content }}<E>{% elif m.role == 'user' "
    "%}<U>{{ m.content }}<E>{% else %}<A>{% if m.reasoning_content %}({{ m.reasoning_content }}){% "
    "endif %}{{ m.content if m.content is not none }}{% for c in m.tool_calls or [] %}!{{ "
    "c.function.name }}{% endfor %}<E>{% endif %}{% endfor %}{% if add_generation_prompt %}<A>{% "
    "endif %}";

TEST_F(ChatTemplates, ToolsAndDocumentsReachTheTemplateAndCallsAreLearnt) {
  const ChatTokenizer tokenizer = with(kWithTools);
  const auto prompt_template = make_template("auto", tokenizer);
  Conversation record{{{"user", "q"}, {"assistant", ""}, {"tool", "5"}, {"assistant", "r"}}};
  record.messages[1].as_written = nlohmann::ordered_json::parse(
      R"({"role": "assistant", "content": null, "reasoning_content": "h", "tool_calls": [{"function": {"name": "f"}}]})");
  record.tools = nlohmann::ordered_json::parse(R"([{"z": 1, "b": "c"}])");
  record.documents = nlohmann::ordered_json::parse(R"([{"t": "d"}])");
  std::vector<std::string> notes;
  EXPECT_EQ(shown(prompt_template->encode_record(record, tokenizer, false, notes)),
            "[[{\"z\": 1, \"b\": \"c\"}]](d)uqEa(.h.).!.f.E.T5Ear.E.");
  EXPECT_THAT(notes, ElementsAre());
}

TEST_F(ChatTemplates, ACallIsLearntWhereTheTemplateLaysTheLastAnswerOutOtherwise) {
  // Like Qwen3's: an empty block of thought stands before the last answer alone.
  const ChatTokenizer tokenizer = with(
      "{% for m in messages %}{{ {'user': '<U>', 'tool': 'T'}[m.role] | default('<A>') }}"
      "{{ '()' if m.role == 'assistant' and loop.last }}{{ m.content }}"
      "{% for c in m.tool_calls or [] %}!{{ c.name }}{% endfor %}<E>{% endfor %}"
      "{% if add_generation_prompt %}<A>{% endif %}");
  Conversation record{{{"user", "q"}, {"assistant", "w"}, {"tool", "5"}, {"assistant", "r"}}};
  record.messages[1].as_written = nlohmann::ordered_json::parse(
      R"({"role": "assistant", "content": "w", "tool_calls": [{"name": "f"}]})");
  std::vector<std::string> notes;
  EXPECT_EQ(shown(make_template("auto", tokenizer)->encode_record(record, tokenizer, false, notes)),
            "uqEaw.!.f.E.T5Ea()r.E.");
  EXPECT_THAT(notes, ElementsAre());
}

TEST_F(ChatTemplates, ResultsThatTheTemplateWritesIntoAnAnswerAreNotLearnt) {
  // Like Gemma 4's: a result stands between the call and what is said with it.
  const ChatTokenizer tokenizer = with(
      "{% for m in messages %}{% if m.role != 'tool' %}{{ '<U>' if m.role == 'user' else '<A>' }}"
      "{% for c in m.tool_calls or [] %}!{{ c.name }}{% for t in messages %}"
      "{% if t.role == 'tool' %}({{ t.content }}){% endif %}{% endfor %}{% endfor %}"
      "{{ m.content }}<E>{% endif %}{% endfor %}{% if add_generation_prompt %}<A>{% endif %}");
  Conversation record{{{"user", "q"}, {"assistant", "w"}, {"tool", "5"}, {"assistant", "r"}}};
  record.messages[1].as_written = nlohmann::ordered_json::parse(
      R"({"role": "assistant", "content": "w", "tool_calls": [{"name": "f"}]})");
  std::vector<std::string> notes;
  try {
    make_template("auto", tokenizer)->encode_record(record, tokenizer, false, notes);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("messages[1]: the chat template of the base model lays"));
  }
}

TEST_F(ChatTemplates, WhatATemplateDoesNotLookAtIsTold) {
  const ChatTokenizer tokenizer = with(
      "{% for m in messages %}{% if m.role != 'tool' %}{{ '<U>' if m.role == 'user' else '<A>' }}"
      "{{ m.content }}<E>{% endif %}{% endfor %}{% if add_generation_prompt %}<A>{% endif %}");
  Conversation record{{{"user", "q"}, {"assistant", "c"}, {"tool", "5"}, {"assistant", "r"}}};
  record.messages[1].as_written =
      nlohmann::ordered_json::parse(R"({"role": "", "content": "c", "tool_calls": [{"id": 1}]})");
  record.tools = record.documents = nlohmann::ordered_json::parse("[1]");
  std::vector<std::string> notes;
  EXPECT_EQ(shown(make_template("auto", tokenizer)->encode_record(record, tokenizer, false, notes)),
            "uqEac.E.ar.E.");
  EXPECT_THAT(
      notes,
      ElementsAre("'tools' is left out of the prompt", "'documents' is left out of the prompt",
                  "'tool_calls' of a turn is left out: the answer is learnt without it",
                  "a turn of 'tool' is left out of the prompt"));
  notes.clear();
  EXPECT_THROW(make_template("plain", tokenizer)->encode_record(record, tokenizer, false, notes),
               DataError);
  record.messages = {{"user", "q"}, {"assistant", "r"}};
  make_template("plain", tokenizer)->encode_record(record, tokenizer, false, notes);
  EXPECT_THAT(notes, ElementsAre("'tools' is left out of the prompt",
                                 "'documents' is left out of the prompt"));
}

TEST_F(ChatTemplates, ASystemTextStandsBeforeTheQuestionWhereTheTemplateHasNoTurnForIt) {
  const std::string strict =
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + kTurns;
  EXPECT_EQ(trained(strict, {{"system", "y"}, {"user", "q"}, {"assistant", "r"}}),
            "suy\n\nqE\nar.E.\n");
}

TEST_F(ChatTemplates, AnEmptyBlockOfThoughtIsNotLearnt) {
  const std::string chat =
      "{% for m in messages %}{{ '<U>' if m.role == 'user' else '<A>' }}"
      "{{ '()' if m.role == 'assistant' and loop.last }}{{ m.content }}<E>{% endfor %}"
      "{% if add_generation_prompt %}<A>{% endif %}";
  EXPECT_EQ(trained(chat, {{"user", "q"}, {"assistant", "r"}, {"user", "t"}, {"assistant", "v"}}),
            "uqEar.E.utEa()v.E.");
}

TEST_F(ChatTemplates, ASpaceThatThePromptDoesNotEndWithIsLearnt) {
  const std::string chat =
      "{% for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else ' ' + m.content + "
      "eos_token }}{% endfor %}";
  EXPECT_EQ(trained(chat, {{"user", "q"}, {"assistant", "r"}}), "[q] .r.e.");
}

TEST_F(ChatTemplates, WhatTheTemplateLeavesOpenEndsWithEos) {
  const std::string chat =
      "{% for m in messages %}{{ ('<U>' if m.role == 'user' else '<A>') + m.content }}{% endfor %}";
  EXPECT_EQ(trained(chat, {{"user", "q"}, {"assistant", "r"}, {"user", "t"}, {"assistant", "v"}}),
            "uqar.utav.e.");
  // The next speaker's mark ends an answer where the model's own files say so.
  folder_.write("generation_config.json", R"({"eos_token_id": [2, 3]})");
  EXPECT_EQ(trained(chat, {{"user", "q"}, {"assistant", "r"}, {"user", "t"}, {"assistant", "v"}}),
            "uqar.u.tav.e.");
  const ChatTokenizer tokenizer = with(chat);
  EXPECT_THAT(make_template("auto", tokenizer)->stop_ids(tokenizer), ElementsAre(2, 3));
}

TEST_F(ChatTemplates, ReasoningThatTheTemplateMovesIsLearntAsItIsRendered) {
  const std::string chat =
      "{% for m in messages %}{{ '<U>' if m.role == 'user' else '<A>' }}"
      "{% if m.role == 'assistant' and '</think>' in m.content and loop.last %}"
      "{{ '(' + m.content.split('</think>')[0] + ')' }}{% endif %}"
      "{{ m.content.split('</think>')[-1] }}<E>{% endfor %}"
      "{% if add_generation_prompt %}<A>{% endif %}";
  EXPECT_EQ(
      trained(
          chat,
          {{"user", "q"}, {"assistant", "x</think>r"}, {"user", "t"}, {"assistant", "y</think>v"}}),
      "uqEar.E.utEa(.y.).v.E.");
}

TEST_F(ChatTemplates, ARecordThatTheTemplateRefusesIsRefusedInItsWords) {
  const std::string chat =
      kTurns +
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == "
      "0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}";
  try {
    trained(chat, {{"user", "q"}, {"user", "t"}, {"assistant", "r"}});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("refuses them: roles must alternate"));
  }
}

TEST_F(ChatTemplates, AFamilyStandsInForATemplateThatCannotBeExecuted) {
  const ChatTokenizer tokenizer = with("<|im_start|>{% call f() %}{% endcall %}");
  EXPECT_EQ(make_template("auto", tokenizer)->name(), "chatml");
  EXPECT_THROW(make_template("chat_template", tokenizer), ModelError);
  const ChatTokenizer without = with("");
  EXPECT_THROW(make_template("chat_template", without), ConfigError);
}

TEST_F(ChatTemplates, DataOfTheBuiltInLayoutAreThoseOfAChatTemplateThatLaysOutAlike) {
  const std::string chatml =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  const ChatTokenizer alike = with(chatml), other = with("{{ bos_token }}" + chatml);
  const std::string made_with = make_template("chatml", alike)->sha256();
  EXPECT_TRUE(lays_out_as(*make_template("auto", alike), made_with, alike));
  EXPECT_FALSE(lays_out_as(*make_template("auto", other), made_with, other));
  EXPECT_FALSE(lays_out_as(*make_template("auto", alike), "another", alike));
}

}  // namespace
}  // namespace lora_dist
