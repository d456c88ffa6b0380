// The base model's own chat template, executed: ids are those of transformers' apply_chat_template.
//
// What is learnt is found without marks in the template (answer_spans). The token that closes an
// answer is what follows it whether or not another question comes.
#include "data/templates/chat_template.hpp"

#include <algorithm>
#include <ctime>
#include <optional>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/sha256.hpp"
#include "data/io/printable.hpp"
#include "data/templates/answer_spans.hpp"
#include "data/templates/layout.hpp"
#include "data/templates/typed_marks.hpp"
#include "data/tokenizers/unicode.hpp"

namespace lora_dist {
namespace {

/// Up to the end of the first special token of `text`, and whether there is one.
std::pair<std::string, bool> through_special(const std::string& text, const Tokenizer& tokenizer) {
  for (const TokenId id : tokenizer.encode(text, /*add_special_tokens=*/false)) {
    if (!is_special(id, tokenizer)) continue;
    const std::string piece = tokenizer.piece(id);
    const size_t found = text.find(piece);
    if (found != std::string::npos) return {text.substr(0, found + piece.size()), true};
  }
  return {text, false};
}

/// The record without one of keys_beside_text().
Conversation without(Conversation record, const std::string& key) {
  if (key == "tools") record.tools = nullptr;
  if (key == "documents") record.documents = nullptr;
  for (Message& turn : record.messages)
    if (turn.as_written.is_object()) turn.as_written.erase(key);
  return record;
}

class ChatTemplate final : public PromptTemplate {
 public:
  explicit ChatTemplate(const Tokenizer& tokenizer) : rendering_(tokenizer) {
    look_at_endings(tokenizer);
    look_at_beginnings();
    training_takes_system_ = takes_system(/*for_prompt=*/false);
    prompt_takes_system_ = takes_system(/*for_prompt=*/true);
    if (rendering_.source().find("strftime_now") != std::string::npos)
      log_warning(
          "the chat template of the base model writes the day's date; training data get the date "
          "that the template holds for it, or 26 Jul 2024, so that their ids stay the same");
  }

  std::string name() const override { return "chat_template"; }

  Tokens encode_training(const std::vector<Message>& messages, const Tokenizer& tokenizer,
                         bool train_on_prompt) const override {
    std::vector<std::string> notes;
    return encode_record({messages}, tokenizer, train_on_prompt, notes);
  }

  Tokens encode_record(const Conversation& record, const Tokenizer& tokenizer, bool train_on_prompt,
                       std::vector<std::string>& notes) const override {
    Conversation adapted_record = record;
    adapted_record.messages = adapted(record.messages, training_takes_system_, tokenizer);
    const std::string text = rendering_.record_text(adapted_record, /*for_prompt=*/false);
    note_unread(adapted_record, text, notes);
    const std::vector<Answer> answers = answers_of(adapted_record, text, rendering_, marks_);
    const std::vector<TokenId> ids = tokenizer.encode(text, /*add_special_tokens=*/false);
    Tokens tokens =
        encode_chunks(chunks_of(text, answers, /*in_pieces=*/true), train_on_prompt, tokenizer);
    if (tokens.ids != ids)  // a tokenizer that looks across its special tokens
      tokens =
          encode_chunks(chunks_of(text, answers, /*in_pieces=*/false), train_on_prompt, tokenizer);
    if (marks_.last_closing.empty() && !answers.empty() && tokenizer.end_id() >= 0) {
      tokens.ids.push_back(tokenizer.end_id());
      tokens.loss_mask.push_back(answers.back().learn == Learn::kAnswer);
    }
    return tokens;
  }

  std::vector<TokenId> encode_prompt(const std::vector<Message>& messages,
                                     const Tokenizer& tokenizer) const override {
    // Training data must have the same ids tomorrow; who asks a question today is told the date.
    const std::string text =
        rendering_.record_text({adapted(messages, prompt_takes_system_, tokenizer)},
                               /*for_prompt=*/true, std::time(nullptr));
    return tokenizer.encode(text, /*add_special_tokens=*/false);
  }

  std::vector<TokenId> stop_ids(const Tokenizer& tokenizer) const override {
    std::vector<TokenId> ids;
    for (const std::string& mark : {marks_.closing, marks_.last_closing}) {
      const TokenId end = mark.empty() ? -1 : tokenizer.id_of(stripped(mark));
      for (const TokenId id : {tokenizer.eos_id(), tokenizer.end_id(), end})
        if (id >= 0 && std::ranges::count(ids, id) == 0) ids.push_back(id);
    }
    return ids;
  }

  std::string sha256() const override {
    return sha256_hex(fmt::format("chat_template\n{}\n{}\n{}", rendering_.bos(), rendering_.eos(),
                                  rendering_.source()));
  }

 private:
  /// The turns as the template can take them: no end token typed twice, a system text before the
  /// first question where the template has no turn for it.
  std::vector<Message> adapted(const std::vector<Message>& messages, bool takes_system,
                               const Tokenizer& tokenizer) const {
    std::vector<Message> turns = without_typed_marks(
        messages, {.end_ids = stop_ids(tokenizer), .before_answer = before_answer_}, tokenizer);
    if (takes_system || turns.size() < 2 || turns[0].role != "system" || turns[1].role != "user")
      return turns;
    log_warning(
        "the chat template of the base model leaves system texts out here; they stand before the "
        "first question, with a blank line between");
    if (!turns[0].content.empty()) turns[1].content = turns[0].content + "\n\n" + turns[1].content;
    turns.erase(turns.begin());
    return turns;
  }

  /// White space that stands before an answer and is not part of the prompt that asks for it: the
  /// model writes it. A longer text there, such as an empty block of thought, is the template's.
  void look_at_beginnings() {
    const std::string prompt = rendering_.text({{{"user", sentinel(0)}}}, /*for_prompt=*/true);
    const std::string text = rendering_.text({{{"user", sentinel(0)}, {"assistant", sentinel(1)}}},
                                             /*for_prompt=*/false);
    const size_t question = prompt.find(sentinel(0));
    // A block of thought that the prompt opens is no mark: answers bring their own.
    if (question != std::string::npos) {
      before_answer_ = prompt.substr(question + sentinel(0).size());
      before_answer_.resize(std::min(before_answer_.find("<think>"), before_answer_.size()));
    }
    if (!text.starts_with(prompt)) return;
    const std::string between =
        text.substr(prompt.size(), text.find(sentinel(1), prompt.size()) - prompt.size());
    if (leading_space(between) == between.size()) marks_.lead = between;
  }

  /// What the template writes behind an answer: behind any (marks_.closing), behind the last one.
  void look_at_endings(const Tokenizer& tokenizer) {
    const auto behind = [&](bool goes_on) {
      std::vector<Message> turns = {{"user", sentinel(0)}, {"assistant", sentinel(1)}};
      if (goes_on) {
        turns.push_back({"user", sentinel(2)});
        turns.push_back({"assistant", sentinel(3)});
      }
      const std::string text = rendering_.text({turns}, /*for_prompt=*/false);
      const size_t found = text.find(sentinel(1));
      if (found == std::string::npos) jinja::fault("it leaves out what the assistant says");
      const size_t begin = found + sentinel(1).size();
      return text.substr(begin, goes_on ? text.find(sentinel(2)) - begin : std::string::npos);
    };
    const std::string last = behind(false), middle = behind(true);
    const auto [common, has_special] = through_special(common_start(last, middle), tokenizer);
    marks_.closing = common;
    closes_with_token_ = has_special;
    if (!has_special) {  // a mark of plain text: its first line
      const size_t begin = leading_space(common);
      marks_.closing = stripped(common.substr(begin, common.find('\n', begin) - begin));
      if (!marks_.closing.empty())
        log_warning(fmt::format(
            "the chat template of the base model ends an answer with '{}', which is not a token of "
            "this base model and is learnt as plain text",
            printable(marks_.closing)));
    }
    marks_.last_closing = marks_.closing;
    if (marks_.closing.empty()) {
      const auto [mark, is_token] = through_special(last, tokenizer);
      marks_.last_closing = is_token ? mark : "";
      closes_with_token_ = is_token;
    }
    if (!marks_.last_closing.empty() || tokenizer.end_id() < 0) return;
    // Where the next speaker's mark ends an answer (GLM), it is what a model has to learn.
    const auto [next_mark, is_token] = through_special(middle, tokenizer);
    const std::string mark = stripped(next_mark);
    if (is_token && tokenizer.ends_text(tokenizer.id_of(mark))) {
      marks_.closing = next_mark;
      closes_with_token_ = true;
    }
    log_warning(fmt::format(
        "the chat template of the base model writes no end token behind the last answer; '{}' is "
        "put there and learnt",
        printable(spelling(tokenizer.end_id(), tokenizer))));
  }

  /// Asked apart for both: Mistral-7B-Instruct-v0.3 writes a system text only into a prompt.
  bool takes_system(bool for_prompt) const {
    std::vector<Message> turns = {{"system", sentinel(0)}, {"user", "U"}};
    if (!for_prompt) turns.push_back({"assistant", "A"});
    try {
      return rendering_.text({turns}, for_prompt).find(sentinel(0)) != std::string::npos;
    } catch (const jinja::Failure&) {
      return false;
    }
  }

  /// Notes what of the record makes no difference to the text.
  void note_unread(const Conversation& record, const std::string& text,
                   std::vector<std::string>& notes) const {
    const auto is_unread = [&](const Conversation& less) {
      try {
        return rendering_.text(less, /*for_prompt=*/false) == text;
      } catch (const jinja::Failure&) {
        return false;
      }
    };
    for (const std::string& key : keys_beside_text(record))
      if (is_unread(without(record, key))) notes.push_back(left_out_note(key));
    Conversation without_tools = record;
    std::erase_if(without_tools.messages, [](const Message& turn) { return turn.role == "tool"; });
    if (without_tools.messages.size() < record.messages.size() && is_unread(without_tools))
      notes.emplace_back("a turn of 'tool' is left out of the prompt");
  }

  /// `in_pieces`: cut before each end token, so that a long conversation is tokenised once and not
  /// once per turn.
  std::vector<Chunk> chunks_of(const std::string& text, const std::vector<Answer>& answers,
                               bool in_pieces) const {
    std::vector<Chunk> chunks(1);
    size_t pos = 0;
    const auto add = [&](size_t end, Learn learn) {
      if (end > pos) chunks.back().segments.push_back({text.substr(pos, end - pos), learn});
      pos = std::max(pos, end);
    };
    const std::string& bos = rendering_.bos();
    if (!bos.empty() && text.starts_with(bos)) add(bos.size(), Learn::kNever);
    for (size_t i = 0; i < answers.size(); ++i) {
      const std::string& mark = marks_.closing_of(i + 1 == answers.size());
      add(answers[i].begin, Learn::kPrompt);
      add(answers[i].end, answers[i].learn);
      if (mark.empty() || text.compare(pos, mark.size(), mark) != 0) continue;
      add(pos + leading_space(mark), answers[i].learn);
      if (in_pieces && closes_with_token_) chunks.emplace_back();
      add(answers[i].end + mark.size(), answers[i].learn);
    }
    add(text.size(), Learn::kPrompt);
    return chunks;
  }

  Rendering rendering_;
  AnswerMarks marks_;
  std::string before_answer_;
  bool closes_with_token_ = false;
  bool training_takes_system_ = true, prompt_takes_system_ = true;
};

}  // namespace

std::unique_ptr<PromptTemplate> execute_chat_template(const Tokenizer& tokenizer) {
  return std::make_unique<ChatTemplate>(tokenizer);
}

std::unique_ptr<PromptTemplate> make_chat_template_template(const Tokenizer& tokenizer) {
  if (tokenizer.chat_template().empty())
    throw ConfigError({.where = "template",
                       .found = "chat_template, but the base model has none",
                       .expected = {},
                       .fix = "set template: alpaca, or give the base a chat_template.jinja"});
  try {
    return execute_chat_template(tokenizer);
  } catch (const jinja::Failure& failure) {
    throw ModelError({.where = "chat template of the base model",
                      .found = printable(failure.what(), 200),
                      .expected = {},
                      .fix = "choose a layout, such as template: chatml"});
  }
}

}  // namespace lora_dist
